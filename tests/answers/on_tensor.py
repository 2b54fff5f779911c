"Right answers that look unlike the book's."
import numpy as np
from nnzero.backprop.tensor import apply

def tensor_1(mask, x, y):
    keep = np.asarray(mask, float)
    def pick(a, b):
        m, a, b = np.broadcast_arrays(mask, a, b)
        out = b.copy()
        out[m] = a[m]
        return out
    return apply('pick', pick, (x, y), lambda g, *_: keep*g, lambda g, *_: g - keep*g)

def tensor_2(tensors, axis):
    pulls, start = [], 0
    for t in tensors:
        end = start + t.shape[axis]
        pulls.append(lambda g, *_, part=range(start, end): g.take(part, axis))
        start = end
    return apply('join', lambda *arrays: np.concatenate(arrays, axis), tensors, *pulls)

def tensor_3(x, axis):
    def pull(g, x, z):
        back, n = np.moveaxis(np.empty_like(x), axis, 0), x.shape[axis]
        rows = np.moveaxis(x, axis, 0)
        for row, out in zip(rows, back): out[:] = (row - rows.sum(0)/n)*g*2/n
        return np.moveaxis(back, 0, axis)
    return apply('scatter', lambda x: (x*x).mean(axis) - x.mean(axis)**2, (x,), pull)

def tensor_4(letters, x, y):
    inputs, out = letters.split('->')
    a, b = inputs.split(',')
    every = sorted(set(a + b))
    def spread(t, part):
        order = sorted(range(len(part)), key=lambda i: part[i])
        return np.asarray(t).transpose(order).reshape([np.shape(t)[part.index(c)] if c in part else 1 for c in every])
    def gather(t, part):
        rest = [c for c in every if c in part]
        t = t.sum(tuple(i for i, c in enumerate(every) if c not in part))
        return t.transpose([rest.index(c) for c in part])
    def pull(g, other, theirs, own, shape):
        return np.array(np.broadcast_to(gather(spread(g, out)*spread(other, theirs), own), shape))
    return apply('einsum', lambda x, y: gather(spread(x, a)*spread(y, b), out), (x, y),
                 lambda g, x, y, z: pull(g, y, b, a, x.shape), lambda g, x, y, z: pull(g, x, a, b, y.shape))
