"Right answers that look unlike the book's."
import numpy as np

def engine_1(x):
    total = term = x
    for k in range(1, 17):                  # Taylor's polynomial
        term = term*x*x*(-1/(2*k*(2*k + 1)))
        total = total + term
    return total

def engine_2(root, leaf):
    known = {}
    def ways(v):
        if v is leaf: return 1
        if id(v) not in known: known[id(v)] = sum(ways(p) for p in (v.a, v.b) if p is not None)
        return known[id(v)]
    return ways(root)

def engine_3(logits):
    top = max(logits, key=lambda v: v.data)
    scale = sum((v - top).exp() for v in logits)**-1
    return [(v - top).exp()*scale for v in logits]

class engine_4:
    "As matrices"
    def __init__(self, value, slope=0.0): self.m = np.array([[value, slope], [0, value]], float)
    value = property(lambda self: self.m[0, 0])
    slope = property(lambda self: self.m[0, 1])
    def _of(self, m): return engine_4(m[0, 0], m[0, 1])
    def __add__(self, other): return self._of(self.m + (other if isinstance(other, engine_4) else engine_4(other)).m)
    def __mul__(self, other): return self._of(self.m @ (other if isinstance(other, engine_4) else engine_4(other)).m)
    def __radd__(self, other): return self + other
    def __rmul__(self, other): return self*other
