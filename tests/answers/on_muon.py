"Right answers that look unlike the book's."
import torch

def muon_1(): return 15/8, -10/8, 3/8

def muon_2(G, n=100):
    A = G.T @ G/G.norm()**2
    for _ in range(14): A = A @ A/(A @ A).norm()
    v = A[:, A.norm(dim=0).argmax()]
    return (G @ v).norm()/v.norm()

def muon_3(G):
    O = torch.zeros_like(G)
    for row, out in zip(G, O):
        if row.any(): out.copy_(row/row.square().sum().sqrt())
    return O

def muon_4(G):
    U, _, Vh = torch.linalg.svd(G)
    return U @ Vh
