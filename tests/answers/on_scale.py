"Right answers that look unlike the book's."
import math
import numpy as np

def scale_1(n, k, m, P, W, b):
    ops, moved = 2*n*k*m, b*(n*k + k*m + n*m)
    return ops/min(P, W*(ops/moved))

def scale_2(first, before, after):
    plain, compiled = before, first
    for step in range(1, 10**5):
        if compiled <= plain + 1e-9: return step
        plain, compiled = step*before + before, first + step*after
    return math.inf

def scale_3(sizes, squares):
    slope, level = np.polyfit(1/np.array(sizes, float), squares, 1)
    return slope/level

def scale_4(x, y):
    x, y, best = np.array(x, float), np.array(y, float), (math.inf,)
    for E in np.linspace(0, y.min(), 700, endpoint=False):
        b, log_a = np.polyfit(np.log(x), np.log(y - E), 1)
        best = min(best, (((y - E - np.exp(log_a)*x**b)**2).sum(), E, math.exp(log_a), b))
    return best[1:]
