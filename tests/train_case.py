"""A small training for test_train.py, run in processes of its own: `python train_case.py kills N SEED`, or under torchrun
`python train_case.py run FOLDER {settings}`. The model has all that a state must hold: dropout, BatchNorm's buffers, tied weights."""
import json, multiprocessing, os, random, signal, socket, subprocess, sys, tempfile, time
from dataclasses import asdict, dataclass
from pathlib import Path
import torch
from torch import nn
from nnzero.lm.data import CharTokenizer, LineData
from nnzero.lm.train import TrainConfig, Trainer, read_tensors, train

torch.set_num_threads(1)
ITEMS = [a + b + c for a in 'abcdefgh' for b in 'aeiou' for c in ('', 'n', 'ra', 'lisa')]
TOK = CharTokenizer.train(ITEMS)
TRAIN, DEV = LineData(ITEMS[:-40], TOK), LineData(ITEMS[-40:], TOK)

@dataclass
class SmallConfig:
    vocab_size:int
    width:int=12
    dropout:float=0.2
    norm:bool=True

class Small(nn.Module):
    "Embedding, BatchNorm, dropout, and an output that is tied to the embedding"
    name = 'small'
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab_size, config.width)
        self.mix = nn.Linear(config.width, config.width)
        self.norm = nn.BatchNorm1d(config.width) if config.norm else nn.Identity()
        self.drop = nn.Dropout(config.dropout)
        self.out = nn.Linear(config.width, config.vocab_size)
        self.out.weight = self.embed.weight
    def forward(self, idx):
        h = self.mix(self.embed(idx))                               # (B, T, D)
        h = self.norm(h.flatten(0, 1)).view(h.shape).tanh()
        return self.out(self.drop(h))

def small(seed=0, **kw):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Small(SmallConfig(TOK.vocab_size, **kw))

SETTINGS = dict(steps=60, batch_size=8, eval_every=10, lr=0.01, device='cpu')

def run(folder, resume=True, model=None, **kw):
    norm = {k: kw.pop(k) for k in ('norm', 'dropout') if k in kw}
    return train(model or small(**norm), TRAIN, DEV, TrainConfig(**SETTINGS | kw), folder, TOK, resume=resume, progress=False)

def content(folder):
    "All that a finished training leaves, but for the seconds"
    tensors, about = read_tensors(Path(folder)/'state.safetensors')
    about = json.loads(about['state'])
    about['record'].pop('seconds')
    for row in about['record']['history']: row.pop('seconds')
    log = [line.rsplit(',', 1)[0] for line in (Path(folder)/'log.csv').read_text().splitlines()]
    named = sorted((name, t.dtype, tuple(t.shape), t.numpy().tobytes()) for name, t in tensors.items())
    return named, about, log, (Path(folder)/'model.safetensors').read_bytes(), (Path(folder)/'tokenizer.json').read_bytes()

def _child(folder, settings, reached):
    step = Trainer.step
    def noted(self):
        loss = step(self)
        reached.value = self.done
        return loss
    Trainer.step = noted
    sys.stderr = open(os.devnull, 'w')
    try: run(folder, **settings)
    except KeyboardInterrupt: os._exit(130)
    os._exit(0)

def kills(n, seed, signals=(signal.SIGKILL,), steps=None):
    "One training, stopped n times; what was seen. Children are forked, so that torch is imported once"
    fork, rng, lost, left, at = multiprocessing.get_context('fork'), random.Random(seed), [], 0, []
    every, steps = 5, steps or 25*n
    settings = dict(steps=steps, eval_every=every)
    with tempfile.TemporaryDirectory() as base:
        whole, cut = Path(base, 'whole'), Path(base, 'cut')
        run(Path(base, 'warm'), steps=2)                # import here, once, all that the children need
        reached, count = fork.Value('i', 0), 0
        child = fork.Process(target=_child, args=(whole, settings, reached))
        began, saved = time.perf_counter(), 0
        child.start(), child.join()
        assert child.exitcode == 0
        while True:
            reached.value = saved
            child = fork.Process(target=_child, args=(cut, settings, reached))
            child.start()
            if count < n:                               # some steps further on, and a random moment in between
                goal = saved + rng.randrange(30)
                while child.is_alive() and reached.value < goal: time.sleep(0.0003)
                time.sleep(rng.random()*0.01)
                assert child.is_alive(), 'the training ended before all kills'
                os.kill(child.pid, how := rng.choice(signals))
                child.join(60)
                assert child.exitcode in (-how, 130, 1), child.exitcode
                count += 1
            else: child.join()
            state = cut/'state.safetensors'
            saved = json.loads(read_tensors(state)[1]['state'])['batches']['step'] if state.exists() else 0
            if cut.exists():
                left += len(list(cut.glob('.*.*-*')))
                if (cut/'config.json').exists(): json.loads((cut/'config.json').read_text())
                if (cut/'model.safetensors').exists(): read_tensors(cut/'model.safetensors')
            if child.exitcode == 0 and reached.value in (0, steps, saved): break
            lost.append(reached.value - saved)
            at.append(reached.value)
        return dict(kills=count, equal=content(whole) == content(cut), most_lost=max(lost, default=0), every=every, steps=steps,
                    halves=left, distinct=len(set(at)), seconds=round(time.perf_counter() - began, 1))

def _rank(rank, world, port, folder, settings):
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    trainer = run(folder.replace('RANK', str(rank)), **settings)
    if rank == 0: print(json.dumps([row['train'] for row in trainer.record.history[1:]]), flush=True)

def _member(*args):
    try: _rank(*args)
    except BaseException as e:
        print(f'rank {args[0]}: {type(e).__name__}: {e}', file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)

def together(world, folder, settings):
    "The exit codes of a training of so many processes, without torchrun; a line with their ids, one with the losses"
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    fork = multiprocessing.get_context('fork')
    team = [fork.Process(target=_member, args=(rank, world, port, folder, settings)) for rank in range(world)]
    for child in team: child.start()
    print(json.dumps([child.pid for child in team]), flush=True)
    end = time.monotonic() + 100
    for child in team:
        child.join(max(0, end - time.monotonic()))
        if child.is_alive(): child.kill(), child.join()
    return [child.exitcode for child in team]

# What tests call: a process of its own, that has neither threads nor locks of the tests before it when it forks

HERE = Path(__file__).resolve().parent
ENV = os.environ | {'PYTHONPATH': str(HERE.parent), 'OMP_NUM_THREADS': '1'}
if sys.platform == 'linux': ENV['GLOO_SOCKET_IFNAME'] = 'lo'        # whatever the machine's name leads to

def case(*args, tool=(sys.executable,)):
    return subprocess.Popen([*tool, str(HERE/'train_case.py'), *map(str, args)], env=ENV, text=True, start_new_session=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)

def team(*rounds):
    "Trainings of so many processes each, one after the other; the losses of each, what was said, and the exit status"
    args = [arg for world, folder, settings in rounds for arg in (world, folder, json.dumps(settings))]
    child = case('together', *args)
    out, err = child.communicate(timeout=60 + 100*len(rounds))
    return [json.loads(line) for line in out.splitlines()[1::2]], err, child.returncode

if __name__ == '__main__':
    if sys.argv[1] == 'kills': print(json.dumps(kills(int(sys.argv[2]), int(sys.argv[3]))))
    elif sys.argv[1] == 'signals':
        print(json.dumps(kills(int(sys.argv[2]), int(sys.argv[3]), (signal.SIGINT, signal.SIGTERM, signal.SIGKILL))))
    elif sys.argv[1] == 'together':                     # WORLD FOLDER SETTINGS, and again
        codes = [together(int(w), f, json.loads(s)) for w, f, s in zip(*[iter(sys.argv[2:])]*3)]
        sys.exit(max(abs(code) for some in codes for code in some))
    else:
        try: trainer = run(sys.argv[2], **json.loads(sys.argv[3]))
        except (Exception, KeyboardInterrupt) as e:
            print(f'rank {os.environ.get("RANK")}: {type(e).__name__}: {e}', file=sys.stderr, flush=True)
            sys.exit(1)
        if trainer.team.rank == 0: print(json.dumps([row['train'] for row in trainer.record.history[1:]]))
