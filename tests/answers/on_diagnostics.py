"Right answers that look unlike the book's."
import copy, math, torch
from torch import nn

def diagnostics_1(zeros):
    alive, moving = {'embed', 'hidden', 'hidden_bias', 'out', 'out_bias'} - zeros, {'out_bias'}
    for _ in range(9):
        has = lambda *names: alive.issuperset(names)
        if has('embed', 'hidden') or has('hidden_bias'): moving.add('out')
        if has('out'): moving.add('hidden_bias')
        if has('out', 'embed'): moving.add('hidden')
        if has('out', 'hidden'): moving.add('embed')
        alive |= moving
    return moving

@torch.no_grad()
def diagnostics_2(linear, norm):
    norm, one = copy.deepcopy(norm).eval(), nn.Linear(linear.in_features, linear.out_features)
    at_zero = norm(linear(torch.zeros(1, linear.in_features)))
    one.bias.data = at_zero[0].clone()
    one.weight.data = (norm(linear(torch.eye(linear.in_features))) - at_zero).T.contiguous()
    return one

def diagnostics_3(a):
    grid = [k/1000 for k in range(-9000, 9001)]
    bell = [math.exp(-x*x/2) for x in grid]
    return math.sqrt(sum(bell)/sum(b*(x if x > 0 else a*x)**2 for x, b in zip(grid, bell)))

@torch.no_grad()
def diagnostics_4(net, x):
    linears = [m for m in net if isinstance(m, nn.Linear)]
    def measured(m, _, out): m.weight /= out.square().mean().sqrt()*(10 if m is linears[-1] else 1)
    for m in linears:
        hook = m.register_forward_hook(measured)
        net(x)
        hook.remove()

def diagnostics_5(outputs):
    columns = outputs.T.tolist()
    live = [c for c in columns if any(c)]
    close = lambda a, b: all(abs(x - y) < 1e-6 for x, y in zip(a, b))
    return sum(any(close(a, b) for b in live if b is not a) for a in live)/len(columns)
