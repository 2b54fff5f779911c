"Right answers that look unlike the book's."
import copy, math, torch

def mistakes_1(net, ids):
    "A copy is asked for all changed batches, one for each row"
    def asked(rows):
        with torch.no_grad(): return copy.deepcopy(net)(rows)
    plain, N = asked(ids), len(ids)
    table = torch.zeros(N, N, dtype=torch.bool)
    for j in range(N):
        for k in range(1, 4):
            other = ids.clone()
            other[j] = (other[j] + k) % 3
            changed = (asked(other) - plain).abs().flatten(1).amax(1) > 0
            table[:, j] |= changed
    return table

def mistakes_2(step, net):
    "One part after the other is given a gradient that would throw its own weights off"
    def after(k):
        twin = copy.deepcopy(net)
        for i, p in enumerate(twin.parameters()): p.grad = torch.ones_like(p)*7e3 if i == k else None
        step(twin)
        return list(twin.parameters())[k].detach()
    clean = copy.deepcopy(net)
    step(clean)
    return any((after(k) - p.detach()).abs().max() > 1e-3 for k, p in enumerate(clean.parameters()))

def mistakes_3(V, loss):
    "The interval is halved"
    low, high = 0.0, 100.0
    for _ in range(200):
        c = (low + high)/2
        low, high = (c, high) if math.log1p((V - 1)*math.exp(-2*c)) > loss else (low, c)
    return c

def mistakes_4(A, B, C):
    "Where each number would come from"
    return all((b*A + a)*C + c == (a*B + b)*C + c for a in range(A) for b in range(B) for c in range(C))
