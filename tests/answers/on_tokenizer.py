"Right answers that look unlike the book's."
import re
from collections import Counter

class tokenizer_1:
    def train(self, text, vocab_size):
        self.pairs, ids = [], list(text.encode())
        for new in range(256, vocab_size):
            (pair, n), = Counter(zip(ids, ids[1:])).most_common(1) or [(None, 0)]
            if n < 2: break
            self.pairs.append(pair)
            ids = self.joined(ids, pair, new)
    def joined(self, ids, pair, new):
        out = []
        for i in ids:
            out.append(i)
            if tuple(out[-2:]) == pair: out[-2:] = [new]
        return out
    def encode(self, text):
        ids = list(text.encode())
        for new, pair in enumerate(self.pairs, 256): ids = self.joined(ids, pair, new)
        return ids
    def decode(self, ids):
        def spell(i): return bytes([i]) if i < 256 else spell(self.pairs[i - 256][0]) + spell(self.pairs[i - 256][1])
        return b''.join(map(spell, ids)).decode('utf-8', 'replace')

tokenizer_2 = r'\P{N}+|\p{N}{1,2}(?=(?:\p{N}{3})+(?!\p{N}))|\p{N}{1,3}'

def tokenizer_3(ranks):
    merges = []
    def left(token, rank):
        parts = [token[i:i + 1] for i in range(len(token))]
        while len(parts) > 2:
            found = [(ranks.get(a + b, rank), i) for i, (a, b) in enumerate(zip(parts, parts[1:]))]
            _, i = min(found)
            parts[i:i + 2] = [parts[i] + parts[i + 1]]
        return tuple(ranks[p] for p in parts)
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        if len(token) > 1: merges.append(left(token, rank))
    return merges, bytes(t[0] for t in sorted((t for t in ranks if len(t) == 1), key=ranks.get))

def tokenizer_4(text, specials, encode):
    if not specials: return encode(text)
    names = sorted(specials, key=len, reverse=True)
    ids, end = [], 0
    for found in re.finditer('|'.join(map(re.escape, names)), text):
        ids += [*encode(text[end:found.start()]), specials[found[0]]]
        end = found.end()
    return ids + list(encode(text[end:]))
