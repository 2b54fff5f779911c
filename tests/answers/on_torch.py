"Right answers that look unlike the book's."
import torch

def torch_1(params, make_loss, lr):
    loss = make_loss()
    for p, g in zip(params, torch.autograd.grad(loss, params)): p.data.sub_(g, alpha=lr)
    return loss.item()

class torch_2(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        out = 1/(1 + torch.exp(-x))
        ctx.save_for_backward(out)
        return out
    @staticmethod
    def backward(ctx, grad): return grad*(ctx.saved_tensors[0] - ctx.saved_tensors[0]**2)

def torch_3(x): return x.round().detach() + x - x.detach()

def torch_4(net):
    parts = []
    for layer in net.layers:
        W, b = [[w.data for w in n.w] for n in layer.neurons], [n.b.data for n in layer.neurons]
        linear = torch.nn.Linear(len(W[0]), len(W)).double()
        linear.load_state_dict({k: torch.tensor(v, dtype=torch.float64) for k, v in (('weight', W), ('bias', b))})
        parts += [torch.nn.ReLU(), linear]
    return torch.nn.Sequential(*parts[1:])
