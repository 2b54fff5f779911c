"Right answers that look unlike the book's."
import torch

def rnn_1(own, h, U):
    parts, later = [], 0*own[0]
    for g, s in zip(own.flip(0), h.flip(0)):
        parts.insert(0, (g + later)*(s - s*s))
        later = torch.einsum('bj,ij->bi', parts[0], U)
    return torch.stack(parts), later

def rnn_2():
    "The first unit says the opposite of 'one of the two', the second says 'both'"
    w = 10.0
    return [[w/2, -3*w/2], [-w/2, -w/2]], [[w/2, -w/2], [w/2, -w/2]], [-1.0, -1.0]

def rnn_3(own, h, U, k):
    da = torch.zeros_like(own)
    for t in range(len(own)):
        g = own[t]
        for s in range(t, max(t - k, 0) - 1, -1):
            g = g*(1 - h[s + 1]**2)
            da[s] += g
            g = g @ U.T
    return da
