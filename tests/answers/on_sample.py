"Right answers that look unlike the book's."
import math, torch

def sample_1(z, H):
    z = [x - max(z.tolist()) for x in z.tolist()]
    def entropy(T):
        p = [math.exp(x/T) for x in z]
        return math.log(sum(p)) - sum(q*x/T for q, x in zip(p, z))/sum(p)
    log_T, step = 0.0, 8.0
    while step > 1e-13:
        log_T += step if entropy(math.exp(log_T)) < H else -step
        step /= 2
    return math.exp(log_T)

def sample_2(z, u, T):
    "Who comes first, if each waits for a time of its own"
    return (-u.log()/(z/T).softmax(0)).argmin(1)

def sample_3(z, ids, theta):
    p = z.softmax(0)
    for i in set(ids): p[i] /= theta
    return p.log()

def sample_4(prompt, new, C, cached):
    L = min(prompt, C)
    if cached:
        inside = min(new, C - L + 1)
        return L + inside - 1 + (new - inside)*C
    growing = min(new, C - L)
    return growing*L + growing*(growing - 1)//2 + (new - growing)*C

def sample_5(logp):
    V, rows = len(logp), logp.tolist()
    best = {i: (rows[0][i], [i]) for i in range(1, V)}
    for _ in range(V):
        for i in range(1, V):
            for j in range(1, V): best[j] = max(best[j], (best[i][0] + rows[i][j], best[i][1] + [j]))
    return max([(rows[0][0], [0])] + [(p + rows[i][0], ids + [0]) for i, (p, ids) in best.items()])[1]
