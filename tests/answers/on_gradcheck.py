"Right answers that look unlike the book's."

def gradcheck_1(f, low, high):
    for _ in range(100):                    # the lowest point, by thirds
        a, b = low + (high - low)/3, high - (high - low)/3
        if f(a) < f(b): high = b
        else: low = a
    return (low + high)/2

def gradcheck_2(f, v):
    moved = [abs(f(v[:i] + [x + 1e-5] + v[i + 1:]) - f(v)) for i, x in enumerate(v)]
    return moved.index(max(moved))

def gradcheck_3(f, x):
    h = 2**-9
    return (-f(x + 2*h) + 16*f(x + h) - 30*f(x) + 16*f(x - h) - f(x - 2*h))/(12*h*h)

def gradcheck_4(f, x, h):
    return (8*(f(x + h) - f(x - h)) - (f(x + 2*h) - f(x - 2*h)))/(12*h)

def gradcheck_5(f, x): return f(complex(x, 2**-100)).imag*2**100
