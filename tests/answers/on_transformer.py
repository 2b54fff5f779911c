"Right answers that look unlike the book's."
import math, torch
from torch.nn import functional as F

def transformer_1(x, W, Wo):
    q, k, v = (x[:, None] @ W[:, i] for i in range(3))
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return torch.cat(list(y.unbind(1)), -1) @ Wo

def transformer_2(n):
    "Places on a circle"
    def circle(t, size): return [size*math.cos(2*math.pi*t/n), size*math.sin(2*math.pi*t/n)]
    return [circle(t - 1, 1e4) for t in range(n)], [circle(t, 1) for t in range(n)]

def transformer_3(T, w): return torch.ones(T, T).tril().triu(1 - w) == 0

def transformer_4(T, C, k):
    P, R = torch.zeros(T, C, dtype=torch.float64), torch.zeros(C, C, dtype=torch.float64)
    for i in range(C//2):
        w = 10000**(-2*i/C)
        for t in range(T): P[t, 2*i], P[t, 2*i + 1] = math.sin(t*w), math.cos(t*w)
        R[2*i, 2*i] = R[2*i + 1, 2*i + 1] = math.cos(k*w)
        R[2*i + 1, 2*i], R[2*i, 2*i + 1] = math.sin(k*w), -math.sin(k*w)
    return P, R
