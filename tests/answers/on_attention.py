"Right answers that look unlike the book's."
import torch
from collections import Counter
from math import factorial
from torch import nn
from torch.nn import functional as F
from nnzero.lm.data import PAD
from nnzero.lm.loss import nll
from nnzero.makemore.transformer import Attention

@torch.no_grad()
def attention_1(heads):
    h, C = len(heads.heads), heads.project.in_features
    layer, d = Attention(C, h), C//h
    for i, head in enumerate(heads.heads):
        for j, part in enumerate((head.query, head.key, head.value)):
            layer.qkv.weight[j*C + i*d:j*C + (i + 1)*d] = part.weight
    layer.qkv.bias.zero_()
    layer.out.load_state_dict(heads.project.state_dict())
    return layer

def attention_2(B, n, g):
    rows, targets = [], []
    for a, b in zip(*(torch.randint(10**n, (B,), generator=g).tolist() for _ in range(2))):
        row = [int(c) for c in f'{a:0{n}}{b:0{n}}' + f'{a + b:0{n + 1}}'[::-1]]
        rows.append(row[:-1])
        targets.append([PAD]*(2*n - 1) + row[2*n:])
    return torch.tensor(rows), torch.tensor(targets)

def attention_3(net, data):
    (x, y), optimizer = data[:], torch.optim.AdamW(net.parameters(), 3e-3)
    net.train()
    for _ in range(90):
        some = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        nll(net(x[some]), y[some]).backward()
        optimizer.step()

def attention_4(x, Wq, Wk, Wv):
    return torch.cat([F.scaled_dot_product_attention(x @ W, x @ Wk, x @ Wv, is_causal=True) for W in Wq], -1)

def attention_5(loss, part):
    n, total = max(map(len, loss)), 0.0
    for has in loss:
        if part in has: total += factorial(len(has) - 1)*factorial(n - len(has))*(loss[has - {part}] - loss[has])
    return total/factorial(n)
