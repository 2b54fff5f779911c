"Right answers that look unlike the book's."

def wavenet_1(dilations):
    seen = {0}
    for d in dilations: seen |= {place + d for place in seen}
    return max(seen) + 1

def wavenet_2(z, x):
    H = x.shape[-1]
    return x + z[..., :H].tanh()/(1 + (-z[..., H:]).exp())

def wavenet_3(xs, f, d, c):
    ring = [c]*d
    for t, x in enumerate(xs):
        yield f(ring[t % d], x)
        ring[t % d] = x
