"Right answers that look unlike the book's."
import torch
from nnzero.lm.data import PAD
from nnzero.lm.loss import nll
from nnzero.lm.train import TrainConfig

train_1 = TrainConfig(batch_size=32, steps=2*10**5, clip=0, weight_decay=0, warmup=0, schedule='step', drop=1/2,
                      optimizer='sgd', lr=1/10)

def train_2(gradients, limit):
    length = torch.cat([g.flatten() for g in gradients]).norm().item()
    if length > limit:
        for g in gradients: g.mul_(limit).div_(length)
    return length

def train_3(model, parts):
    for p in model.parameters(): p.grad = None
    total, count = 0.0, 0
    for x, y in parts:
        n = int((y != PAD).sum())
        loss = nll(model(x), y)*n
        loss.backward()
        total, count = total + loss.item(), count + n
    for p in model.parameters(): p.grad /= count
    return total/count

def train_4(put, t):
    lowest = sorted([t.dev, t.best])[0]
    if lowest != t.best: put('model', t.weights)
    put('state', (t.step, lowest))
