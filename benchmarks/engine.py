"""The scalar engine beside micrograd: `python benchmarks/engine.py [--rounds N]`

One step of micrograd's own demo: an MLP(2, [16, 16, 1]) with relu, all of 100 points, hinge loss
and weight decay, zero_grad, forward, backward. Both engines run the network written below.
"""
import gc, io, json, math, random, sys, time, tracemalloc
from importlib import import_module
import bench

ENGINES = {'nnzero': 'nnzero.micrograd.engine', 'micrograd': 'micrograd.engine'}
STEPS = {'nnzero': 12, 'micrograd': 3}      # timed in one process; one more comes first, untimed
LINKS = 100_000

def points(n:int=100) -> tuple[list, list]:
    "Two half moons that interlock, with a little noise, and their classes -1 and 1"
    rng, xs, ys = random.Random(1337), [], []
    for i in range(n):
        t, upper = math.pi*rng.random(), i % 2
        x, y = (math.cos(t), math.sin(t)) if upper else (1 - math.cos(t), 0.5 - math.sin(t))
        xs.append((x + rng.gauss(0, 0.1), y + rng.gauss(0, 0.1)))
        ys.append(2*upper - 1)
    return xs, ys

def layers(Value, sizes=(2, 16, 16, 1)) -> list:
    "Weights and biases: for each layer a list of neurons (w, b)"
    rng = random.Random(1)
    return [[([Value(rng.uniform(-1, 1)) for _ in range(n)], Value(0.0)) for _ in range(m)]
            for n, m in zip(sizes, sizes[1:])]

def network(net, x):
    "The score of one point; each neuron sums as micrograd's does, one node for each operation"
    for layer in net:
        x = [sum((wi*xi for wi, xi in zip(w, x)), b) for w, b in layer]
        if layer is not net[-1]: x = [v.relu() for v in x]
    return x[0]

def step(Value, net, params, xs, ys):
    "Forward, zero_grad, backward on all points; the loss"
    scores = [network(net, [Value(v) for v in x]) for x in xs]
    losses = [(1 + -y*score).relu() for y, score in zip(ys, scores)]
    loss = sum(losses)*(1.0/len(losses)) + 1e-4*sum(p*p for p in params)
    for p in params: p.grad = 0.0
    loss.backward()
    return loss

def parents(v) -> list:
    "What a node of either engine was made from"
    return list(v._prev) if hasattr(v, '_prev') else [p for p in (v.a, v.b) if p is not None]

def count(root) -> int:
    "The nodes of a graph"
    seen, todo = set(), [root]
    while todo:
        v = todo.pop()
        if v not in seen:
            seen.add(v)
            todo += parents(v)
    return len(seen)

def timed(engine:str, collector:str) -> dict:
    "Milliseconds of processor time for a step, the mean over the steps of this process"
    Value, (net, params, data) = setup(engine)
    loss, seconds = step(Value, net, params, *data), 0.0
    if collector == 'off': gc.disable()
    for _ in range(STEPS[engine]):
        if collector == 'off': gc.collect()                 # between the steps, off the clock
        start = time.process_time()
        loss = step(Value, net, params, *data)              # and the graph before is dropped
        seconds += time.process_time() - start
    return dict(ms=1e3*seconds/STEPS[engine])

def result(engine:str) -> dict:
    "What one step computes, the size of its graph, and the most memory it held (not timed)"
    Value, (net, params, data) = setup(engine)
    gc.collect()
    tracemalloc.start()
    loss = step(Value, net, params, *data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return dict(loss=loss.data, grads=[p.grad for p in params], nodes=count(loss), peak_mb=peak/1e6)

def setup(engine:str):
    Value = import_module(ENGINES[engine]).Value
    net = layers(Value)
    return Value, (net, [p for layer in net for w, b in layer for p in w + [b]], points())

def chain(engine:str, links:int):
    "A chain of sums, forward and backward"
    x = last = import_module(ENGINES[engine]).Value(1.0)
    for _ in range(links): last = last + x
    last.backward()
    return x.grad

def deep(engine:str) -> dict:
    "Milliseconds for a long chain, freed again"
    start = time.process_time()
    assert chain(engine, LINKS) == LINKS + 1
    return dict(ms=1e3*(time.process_time() - start))

def limit(engine:str) -> dict:
    "The longest chain before Python's limit on recursion stops it, up to `LINKS`"
    low, high = 1, LINKS + 1
    while high - low > 1:
        mid = (low + high)//2
        try: chain(engine, mid); low = mid
        except RecursionError: high = mid
    return dict(links=low)

def agree(a:dict, b:dict):
    "Both engines must compute the same before their speed is worth comparing"
    for x, y in zip([a['loss'], *a['grads']], [b['loss'], *b['grads']], strict=True):
        assert math.isclose(x, y, rel_tol=1e-9, abs_tol=1e-12), f'they disagree: {x} and {y}'

def plot(ms:dict) -> str:
    "Both engines' times, collector on and off, as an SVG"
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from nnzero.reader import COLORS, STYLE
    colors = {'micrograd': COLORS['grey'], 'nnzero': COLORS['blue']}
    cases = [(e, c) for c in ('off', 'on') for e in ('nnzero', 'micrograd')]
    with rc_context(STYLE):
        fig = Figure((6.4, 2.4), layout='constrained')
        ax = fig.subplots()
        for i, (engine, collector) in enumerate(cases):
            low, mid, high = bench.quartiles(ms[engine, collector])
            ax.barh(i, mid, color=colors[engine], xerr=[[mid - low], [high - mid]],
                    error_kw=dict(ecolor=COLORS['ink'], capsize=3))
            ax.annotate(f'{mid:,.0f} ms', (high, i), (8, 0), va='center',
                        textcoords='offset points')
        ax.set(xlabel='processor time of a step in ms (median and quartiles)',
               yticks=range(4), yticklabels=[f'{e}, collector {c}' for e, c in cases])
        ax.set_xlim(right=ax.get_xlim()[1]*1.12)
        file = io.StringIO()
        fig.savefig(file, format='svg', metadata={'Date': None})
    return '\n'.join(line.rstrip() for line in file.getvalue().splitlines())

def report(info, ms, ratios, once, depth, long) -> str:
    "The results as markdown"
    engines, collectors = ('micrograd', 'nnzero'), ('on', 'off')
    rows = [[f'a step in ms, collector {c}', *(bench.spread(ms[e, c]) for e in engines),
             bench.spread(ratios[c])] for c in collectors]
    peaks = [once[e]['peak_mb'] for e in engines]
    rows += [['peak memory of a step in MB', *(f'{p:.1f}' for p in peaks),
              f'{peaks[0]/peaks[1]:.1f}'],
             ['nodes in its graph', *(f"{once[e]['nodes']:,}" for e in engines), ''],
             ['longest chain of sums', f"{depth['links']:,} links, then RecursionError",
              f'more than {LINKS:,} links', ''],
             [f'a chain of {LINKS:,} sums in ms', 'not possible', bench.spread(long), '']]
    text = bench.table(['', *engines, 'micrograd / nnzero'], rows)
    return (f'# The scalar engine beside micrograd\n\n{text}\n\nProcessor time; median (lower to '
            f'upper quartile) of {len(long)} rounds, ratios taken round by round.\n\n'
            f'{bench.machine_line(info)}\n')

def main(rounds:int):
    script, engines = __file__, list(ENGINES)
    info = bench.machine(*engines)
    print(f"threads: {info['threads']}, load: {info['load_at_start']}", file=sys.stderr)
    once = {e: bench.child(script, 'result', e) for e in engines}
    agree(*once.values())
    depth = bench.child(script, 'limit', 'micrograd')
    cases = [('timed', e, c) for c in ('on', 'off') for e in engines] + [('deep', 'nnzero')]
    found = bench.interleave(rounds, cases, lambda case: bench.child(script, *case)['ms'])
    ms = {case[1:]: times for case, times in found.items() if case[0] == 'timed'}
    ratios = {c: [m/n for m, n in zip(ms['micrograd', c], ms['nnzero', c])] for c in ('on', 'off')}
    for r in once.values(): r['grads'] = len(r['grads'])
    raw = dict(machine=info, rounds=rounds, steps=STEPS, once=once, limit=depth,
               ms={f'{e}, collector {c}': t for (e, c), t in ms.items()}, ratios=ratios,
               chain=dict(links=LINKS, ms=found['deep', 'nnzero']))
    text = report(info, ms, ratios, once, depth, found['deep', 'nnzero'])
    bench.save('engine.svg', plot(ms))
    bench.report('engine', text, **raw)

if __name__ == '__main__':
    if sys.argv[1:2] and sys.argv[1] in ('timed', 'result', 'deep', 'limit'):   # a child process
        print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
    else:
        parser = bench.options(__doc__, 7)
        rounds = parser.parse_args().rounds
        if rounds < 1: parser.error('--rounds must be at least 1')
        try: main(rounds)
        except ImportError as e: parser.exit(2, f'{e}: `pip install -e .[dev]` brings it\n')
