"Right answers that look unlike the book's."
import numpy as np, torch
from nnzero.backprop.layers import SGD, Layer, Parameter

class layers_1(Layer):
    def __init__(self, a): self.a = a
    def forward(self, x): return self.keep(np.maximum(x, 0) + self.a*np.minimum(x, 0), x > 0)
    def backward(self, dy):
        up, = self.recall(dy)
        dx = self.a*dy
        dx[up] = dy[up]
        return dx

def layers_2(logits, targets, s):
    z = torch.tensor(logits, requires_grad=True)
    logp = z.log_softmax(1)
    loss = -(1 - s)*logp[range(len(targets)), targets].mean() - s*logp.mean()
    loss.backward()
    return loss.item(), z.grad.numpy()

class layers_3(SGD):
    def step(self):
        for i, p in enumerate(self.parameters):
            slope = p.grad + self.weight_decay*p.data
            self.velocity[i] = slope + self.momentum*self.velocity[i]
            p.data -= self.lr*slope
            p.data -= self.lr*self.momentum*self.velocity[i]

class layers_4(Layer):
    def __init__(self, n, eps=1e-5): self.weight, self.eps = Parameter(np.ones(n)), eps
    def forward(self, x):
        size = np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + self.eps)
        return self.keep(self.weight.data*x/size, x, size)
    def backward(self, dy):
        x, size = self.recall(dy)
        self.weight.grad += (dy*x/size).reshape(-1, x.shape[-1]).sum(0)
        g = self.weight.data*dy
        return g/size - x*(g*x).sum(-1, keepdims=True)/size**3/x.shape[-1]

class layers_5(Layer):
    def __init__(self, embedding): self.table = embedding
    def forward(self, h): return self.keep(np.einsum('...d,vd->...v', h, self.table.weight.data), h)
    def backward(self, dy):
        h, = self.recall(dy)
        self.table.weight.grad += np.tensordot(dy, h, [list(range(dy.ndim - 1))]*2)
        return np.einsum('...v,vd->...d', dy, self.table.weight.data)
