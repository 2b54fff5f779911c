"Right answers that look unlike the book's."
import math, random

def data_1(words, seed):
    rng, place = random.Random(seed), {}
    for w in sorted(set(words)): place[w] = rng.choices((0, 1, 2), (8, 1, 1))[0]
    return [[w for w in words if place[w] == part] for part in range(3)]

def data_2(n, seed):
    where, total = list(range(n)), 1
    random.Random(seed).shuffle(where)
    for i in range(n):
        k = 0
        while where[i] is not None:
            where[i], i = None, where[i]
            k += 1
        if k: total = total*k//math.gcd(total, k)
    return total

def data_3(lengths, batch_size, seed):
    rng, batches = random.Random(seed), []
    order = sorted(range(len(lengths)), key=lambda i: lengths[i] + rng.random()*0.9)
    while order: batches.append([order.pop(0) for _ in range(min(batch_size, len(order)))])
    return rng.sample(batches, len(batches))

class data_4:
    mark, vocab_size = 256, 257
    def encode(self, text): return [*text.encode('utf-8')]
    def decode(self, ids): return bytes(filter(256 .__gt__, map(int, ids))).decode('utf-8', 'replace')
