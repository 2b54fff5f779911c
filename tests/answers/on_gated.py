"Right answers that look unlike the book's."
import math, torch

def gated_1(places):
    keep = 0.5**(1/places)
    return math.log(keep/(1 - keep))

def gated_2():
    "Two units that do the same, half of the answer each"
    row = lambda step: [30.0]*4 + [step]*2 + [30.0]*2
    return [row(30.0), row(-30.0), row(0.0)], [[0.0]*8]*2, [1.0, 1.0]

def gated_3(own, h, r, z, n, U):
    T, B, H = own.shape
    Ur, Uz, Un = U.chunk(3, 1)
    dx, later = torch.zeros(T, B, 3*H, dtype=own.dtype), torch.zeros_like(own[0])
    for t in range(T - 1, -1, -1):
        g = own[t] + later
        pre_n = g*(1 - z[t])/torch.cosh(torch.atanh(n[t]))**2
        through = torch.einsum('bj,ij->bi', pre_n, Un)
        pre_r, pre_z = through*h[t]*(r[t] - r[t]**2), g*(h[t] - n[t])*(z[t] - z[t]**2)
        dx[t] = torch.cat([pre_r, pre_z, pre_n], -1)
        later = g*z[t] + through*r[t] + pre_r @ Ur.T + pre_z @ Uz.T
    return dx, later
