"Right answers that look unlike the book's."
import copy, torch
from dataclasses import replace
from torch import nn

def gpt2_1(t, h):
    d = len(t)//(3*h)
    return t[[head*3*d + part*d + i for part in range(3) for head in range(h) for i in range(d)]]

def gpt2_2(model, n):
    new = copy.deepcopy(model)
    new.config = replace(model.config, block_size=n)
    new.place = nn.Embedding.from_pretrained(new.place.weight.detach()[:n].clone(), freeze=False)
    return new

@torch.no_grad()
def gpt2_3(model):
    new = copy.deepcopy(model)
    for block in new.blocks:
        for norm, m in ((block.norm1, block.attention.qkv), (block.norm2, block.mlp[0])):
            m.bias.data = m(norm.bias)
            m.weight.data = m.weight @ torch.diag(norm.weight)
            nn.init.ones_(norm.weight)
            nn.init.zeros_(norm.bias)
    return new
