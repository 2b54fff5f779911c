"Right answers that look unlike the book's."
import math, torch

def bow_1(mean, count, x):
    old = (count/(count + 1)).unsqueeze(1)
    return old*mean + (1 - old)*x

def bow_2(dy):
    parts = dy/torch.arange(1.0, dy.shape[1] + 1, dtype=dy.dtype).view(1, -1, 1)
    return parts.sum(1, keepdim=True) - parts.cumsum(1) + parts

def bow_3(x, k):
    total, out = torch.zeros_like(x[:, 0]), []
    for t in range(x.shape[1]):
        total = total + x[:, t]
        if t >= k: total = total - x[:, t - k]
        out.append(total/min(t + 1, k))
    return torch.stack(out, 1)

def bow_4(T, a): return [[(t - s)*math.log(a) if s <= t else -math.inf for s in range(T)] for t in range(T)]
