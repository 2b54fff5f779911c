"What the benchmarks share: fresh processes in turns, quartiles, the machine, tables and files"
import argparse, hashlib, importlib.util, json, os, platform, statistics, subprocess, sys, time, urllib.request
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT/'benchmarks'/'results'
THREADS = {k: '1' for k in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS')}

def child(script:str, *args) -> dict:
    "Run a script in a fresh process, on one thread, and read the JSON of its last line"
    env = os.environ | THREADS | {'PYTHONHASHSEED': '0'}
    out = subprocess.run([sys.executable, script, *map(str, args)], env=env, cwd=ROOT, text=True,
                         stdout=subprocess.PIPE, check=True).stdout
    return json.loads(out.splitlines()[-1])

def fetched(name:str, url:str, sha256:str, given:str|None) -> Path|None:
    "A peer's file, given or fetched, of the commit that the benchmark is about; None if it can't be had"
    path = Path(given).resolve() if given else ROOT/'benchmarks'/f'.{name}'
    if not path.exists() and not given:
        try: data = urllib.request.urlopen(url, timeout=20).read(10**6)
        except OSError: return None
        path.write_bytes(data)
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        sys.exit(f'{path}: is not the {name} of the commit that the benchmark is about')
    return path

def loaded(name:str, file:str):
    "A peer's file as a module"
    spec = importlib.util.spec_from_file_location(name, file)
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

def in_turns(sides:dict, turns:int, steps:int, warm:int) -> dict:
    "Median milliseconds of processor time for a call of each, `steps` at a time, in turns within this process"
    for side in sides.values():
        for _ in range(warm): side()
    ms = {name: [] for name in sides}
    for i in range(turns):
        for name in list(sides)[::1 if i % 2 else -1]:
            start = time.process_time()
            for _ in range(steps): sides[name]()
            ms[name].append(1e3*(time.process_time() - start)/steps)
    return {name: statistics.median(times) for name, times in ms.items()}

def interleave(rounds:int, cases:list, measure) -> dict:
    "`measure(case)` for all cases in turns, every other round backwards: a list for each case"
    found = {case: [] for case in cases}
    for i in range(rounds):
        for case in cases[::-1 if i % 2 else 1]: found[case].append(measure(case))
        print(f'round {i + 1} of {rounds}', file=sys.stderr)
    return found

def quartiles(xs:list) -> tuple[float, float, float]:
    "Lower quartile, median, upper quartile"
    return tuple(statistics.quantiles(xs, n=4, method='inclusive')) if len(xs) > 1 else (xs[0],)*3

def spread(xs:list, digits:int=3) -> str:
    "Median and quartiles as text, to `digits` significant digits"
    low, mid, high = (f'{float(f"{x:.{digits}g}"):,g}' for x in quartiles(xs))
    return f'{mid} ({low} to {high})'

def _cpu() -> str:
    try: lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError: return platform.processor() or platform.machine()
    models = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return models[0] if models else platform.machine()

def machine(*packages:str) -> dict:
    "What the figures depend on; nothing that names the computer or its owner"
    load = [round(x, 2) for x in os.getloadavg()] if hasattr(os, 'getloadavg') else None
    return dict(cpu=_cpu(), architecture=platform.machine(), cores=os.cpu_count(), threads=1,
                system=platform.system(), python=platform.python_version(),
                packages={p: version(p) for p in packages}, load_at_start=load)

def machine_line(m:dict) -> str:
    "The same in one line"
    packages = ', '.join(f'{p} {v}' for p, v in m['packages'].items())
    load = f", load {m['load_at_start'][0]:g} at the start" if m['load_at_start'] else ''
    return (f"{m['cpu']} ({m['architecture']}), {m['cores']} cores, {m['threads']} thread used, "
            f"{m['system']}, Python {m['python']}, {packages}{load}")

def options(doc:str, rounds:int) -> argparse.ArgumentParser:
    "The command line of a benchmark that this text describes"
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=rounds, help=f'how often each is measured ({rounds})')
    return parser

def table(head:list[str], rows:list[list[str]]) -> str:
    "A markdown table; all columns but the first are set to the right"
    rule = ['---'] + ['---:']*(len(head) - 1)
    return '\n'.join('| ' + ' | '.join(row) + ' |' for row in [head, rule, *rows])

def save(name:str, text:str):
    "Write a file of results, whole or not at all"
    RESULTS.mkdir(exist_ok=True)
    part = RESULTS/f'.{name}.part'
    part.write_text(text.rstrip() + '\n', encoding='utf-8')
    part.replace(RESULTS/name)

def report(name:str, text:str, **found):
    "Keep the numbers and the text about them, and show the text"
    save(f'{name}.json', json.dumps(found, indent=1))
    save(f'{name}.md', text)
    print(text)

def demand(ratios:dict, peer:str, limit:float):
    "Exit if a median of ratios to a peer's time is above the limit"
    for name, r in ratios.items():
        if statistics.median(r) > limit: sys.exit(f'{name}: {statistics.median(r):.2f} times {peer}, and {limit:g} is the limit')
