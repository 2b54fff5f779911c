"Right answers that look unlike the book's."
from itertools import combinations
from math import isclose

def reader_1(a, b): return isclose(a, b, rel_tol=0, abs_tol=1e-9)

def reader_2(larger):
    for a in range(-3, 4):
        for b in range(-3, 4): assert larger(a, b) == sorted((a, b))[1], f'wrong for {a} and {b}'

def reader_3(brightness):
    return tuple(sorted(min(combinations(brightness, 2), key=lambda p: abs(brightness[p[0]] - brightness[p[1]]))))
