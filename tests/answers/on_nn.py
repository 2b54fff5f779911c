"Right answers that look unlike the book's."
from nnzero.micrograd.engine import node

def nn_1(nin, nouts):
    total = 0
    for nout in nouts:
        total += nin*nout + nout
        nin = nout
    return total

nn_2 = [1, -1, 0, -1, 1, 0, 1, 1, -0.5]     # the distance of the two inputs

def nn_3(score, label):
    if score.data >= 0: return score*(1 - label) + ((-score).exp() + 1).log()
    return (score.exp() + 1).log() - score*label

def nn_4(n, size, rng):
    left, found = list(range(n)), []
    while left: found.append([left.pop(rng.randrange(len(left))) for _ in range(min(size, len(left)))])
    return found

def nn_5(v): return node('square', v.data**2 if v.data > 0 else 0.0, v, v.data + abs(v.data))
