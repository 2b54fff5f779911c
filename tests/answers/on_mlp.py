"Right answers that look unlike the book's."
import torch

def mlp_1(examples, V):
    "No network: Witten and Bell's interpolation of counts"
    (X, y), p = examples, torch.full((1, V), 1/V)
    for n in range(X.shape[1] + 1):
        row = (X[:, X.shape[1] - n:]*V**torch.arange(n - 1, -1, -1)).sum(1)
        N = torch.zeros(V**n, V).index_put_((row, y), torch.ones(len(y)), accumulate=True)
        kinds = (N > 0).sum(1, keepdim=True).clamp(min=1)
        p = (N + kinds*p.repeat(len(N)//len(p), 1))/(N.sum(1, keepdim=True) + kinds)
    return lambda X: p[(X*V**torch.arange(X.shape[1] - 1, -1, -1)).sum(1)].log()

def mlp_2(params):
    W2, b2 = params[3:]
    W2.data = torch.arange(1.0, W2.numel() + 1).sin().view(W2.shape)*0.01
    b2.data = torch.zeros_like(b2)

def mlp_3(params, X):
    C, W1, b1, W2, b2, W3 = params
    rows = []
    for window in X:
        e = torch.cat([C[i] for i in window])
        rows.append(torch.tanh(e @ W1 + b1) @ W2 + b2 + e @ W3)
    return torch.stack(rows)

def mlp_4(C, W1):
    return torch.einsum('vd,kdh->kvh', C, W1.view(-1, C.shape[1], W1.shape[1])).flatten(0, 1)
