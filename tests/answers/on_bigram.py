"Right answers that look unlike the book's."
import torch

def bigram_1(items, tokenizer):
    T = torch.zeros((tokenizer.vocab_size,)*3, dtype=torch.int64)
    for item in items:
        ids = [tokenizer.mark]*2 + list(tokenizer.encode(item)) + [tokenizer.mark]
        for i, j, k in zip(ids, ids[1:], ids[2:]): T[i, j, k] += 1
    return T

def bigram_2(train, dev):
    def loss(power):
        p = train.double() + 10**power
        return -(dev*(p/p.sum(-1, keepdim=True)).log()).sum().item()
    low, high = -5.0, 4.0
    for _ in range(6):
        step = (high - low)/20
        best = min((low + i*step for i in range(21)), key=loss)
        low, high = best - step, best + step
    return 10**best

def bigram_3(W, x, y):
    G = torch.zeros_like(W)
    for i, j in zip(x.tolist(), y.tolist()):
        e = (W[i] - W[i].max()).exp()
        G[i] += e/e.sum()/len(x)
        G[i, j] -= 1/len(x)
    return G

def bigram_4(P):
    "1 + Q + Q² + ... as a product of (1 + Q), (1 + Q²), (1 + Q⁴), ..."
    Q = P[1:, 1:].double()
    S = torch.eye(len(Q), dtype=torch.float64)
    for _ in range(40): S, Q = S + Q @ S, Q @ Q
    return (P[0, 1:].double() @ S).sum().item()
