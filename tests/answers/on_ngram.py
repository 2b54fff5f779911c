"Right answers that look unlike the book's."
import math, torch
from collections import defaultdict

def ngram_1(train, dev, k):
    signs, table = {'.', *''.join(train), *''.join(dev)}, defaultdict(lambda: defaultdict(int))
    def walk(items):
        for name in items:
            s = f'.{name}.'
            yield from ((s[max(i - 2, 0):i], s[i]) for i in range(1, len(s)))
    for context, sign in walk(train): table[context][sign] += 1
    losses = [math.log(sum(table[c].values()) + k*len(signs)) - math.log(table[c][s] + k) for c, s in walk(dev)]
    return sum(losses)/len(losses)

def ngram_2(counts):
    once = [gram for gram in counts if counts[gram] == 1]
    return len(once)/sum(counts.values())

def ngram_3(row, shorter, D):
    total, p = sum(row.values()), dict(shorter)
    unseen = [c for c in shorter if row.get(c, 0) == 0]
    for c in row: p[c] = (row[c] - D)/total
    factor = (1 - sum(p[c] for c in row))/sum(shorter[c] for c in unseen)
    for c in unseen: p[c] *= factor
    return p

def ngram_4(n):
    "Digit by digit"
    def before(D): return n[1]/D > sum(r*m/(r - 1 - D) for r, m in n.items() if r > 1)
    D = 0
    for k in range(1, 13):
        while (D + 1)/10**k < 1 and before((D + 1)/10**k): D += 1
        D *= 10
    return D/10**13

def ngram_5(ps):
    z = torch.zeros(ps.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([z], max_iter=100, line_search_fn='strong_wolfe')
    def closure():
        optimizer.zero_grad()
        loss = -(ps @ z.softmax(0)).log().mean()
        loss.backward()
        return loss
    optimizer.step(closure)
    return z.detach().softmax(0)
