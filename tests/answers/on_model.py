"Right answers that look unlike the book's."
import torch
from torch.nn import functional as F
from nnzero.gpt.model import flops

def model_1(c, B, length):
    rows = [2*[B*length*c.n_embd] for _ in range(c.n_layer)]
    return sum(2*n for row in rows for n in row)

def model_2(first, second):
    (m, l, a), (n, k, b) = first, second
    both = torch.cat([m, n], 1).amax(1, keepdim=True)
    return both, (m - both + l.log()).exp() + (n - both + k.log()).exp(), a*(m - both).exp() + b*(n - both).exp()

def model_3(q, k, v):
    n = q.shape[1]//k.shape[1]
    return torch.stack([F.scaled_dot_product_attention(q[:, i], k[:, i//n], v[:, i//n], is_causal=True)
                        for i in range(q.shape[1])], 1)

def model_4(c):
    each = (flops(c, 101) - flops(c, 1))/100
    return flops(c, 1)/each - 1
