"Right answers that look unlike the book's."
import math, torch

def loss_1(): return torch.tensor([[0.0, -200.0, -103.7]]), torch.tensor([2])

def loss_2(nats, predictions, characters): return math.log2(math.exp(nats))*(predictions/characters)

def loss_3(perplexities, predictions):
    return math.prod(p**(n/sum(predictions)) for p, n in zip(perplexities, predictions))

def loss_4(first, second, counts):
    d, n = (first - second).tolist(), counts.tolist()
    mean = sum(d)/sum(n)
    spread = sum((x - mean*k)**2 for x, k in zip(d, n))*len(d)/(len(d) - 1)
    return sum(d)/math.sqrt(spread)

def loss_5(first, second, w):
    return torch.stack([first + math.log(w), second + math.log(1 - w)]).logsumexp(0)
