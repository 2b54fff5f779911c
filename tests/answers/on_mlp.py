"Right answers that look unlike the book's."
import torch

def mlp_1(examples, V):
    "Torch's own layers and optimizer"
    X, y = examples
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Embedding(V, 16), torch.nn.Flatten(), torch.nn.Linear(48, 128), torch.nn.ReLU(),
                              torch.nn.Dropout(0.1), torch.nn.Linear(128, V))
    adam, steps = torch.optim.AdamW(net.parameters(), 5e-3, weight_decay=0.1), 1500
    falling = torch.optim.lr_scheduler.LinearLR(adam, 1, 0.01, steps)
    for _ in range(steps):
        i = torch.randint(len(X), (64,))
        torch.nn.functional.cross_entropy(net(X[i]), y[i]).backward()
        adam.step(), adam.zero_grad(), falling.step()
    return net.eval()

def mlp_2(params):
    W2, b2 = params[3:]
    W2.data = torch.arange(1.0, W2.numel() + 1).sin().view(W2.shape)*0.01
    b2.data = torch.zeros_like(b2)

def mlp_3(params, X):
    C, W1, b1, W2, b2, W3 = params
    rows = []
    for window in X:
        e = torch.cat([C[i] for i in window])
        rows.append(torch.tanh(e @ W1 + b1) @ W2 + b2 + e @ W3)
    return torch.stack(rows)

def mlp_4(C, W1):
    return torch.einsum('vd,kdh->kvh', C, W1.view(-1, C.shape[1], W1.shape[1])).flatten(0, 1)
