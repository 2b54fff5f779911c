"Right answers that look unlike the book's."
from statistics import NormalDist

def zoo_1(gap, sd):
    n = 2
    while gap*n**0.5 < 2*sd*2**0.5: n += 1
    return n

def zoo_2(k, sd):
    bell, h = NormalDist(), 0.01
    grid = [i*h for i in range(-800, 801)]
    return -sd*sum(x*k*bell.pdf(x)*(1 - bell.cdf(x))**(k - 1)*h for x in grid)

def zoo_3(p, q):
    low, high = 0.0, 1.0
    while high - low > 1e-4:
        a, b = low + (high - low)/3, high - (high - low)/3
        if (a*p + (1 - a)*q).log().sum() > (b*p + (1 - b)*q).log().sum(): high = b
        else: low = a
    return (low + high)/2
