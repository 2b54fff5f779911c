"Training that is stopped, cut off, or given nonsense: what the chapter has no room for."
import dataclasses, errno, json, math, os, pickle, random, re, signal, subprocess, sys, threading, time
from pathlib import Path
import pytest
import torch
from filelock import FileLock
from torch import nn
from nnzero.lm import train as module
from nnzero.lm.data import CharTokenizer, DataError, LineData, TextData, lines, load, split
from nnzero.lm.loss import Unigram, evaluate, nll
from nnzero.lm.train import (FREE, FolderError, TrainConfig, Trainer, TrainError, load_weights, make_optimizer, parameter_groups, rate,
                             read_tensors, save_model, train, weights)
from nnzero.makemore.bigram import Bigram, BigramConfig
from nnzero.makemore.mlp import MLP, MLPConfig
from nnzero.makemore.ngram import NGram, NGramConfig
from train_case import DEV, ENV, SETTINGS, TOK, TRAIN, Small, SmallConfig, case, content, run, small, team

HERE = Path(__file__).resolve().parent
FUZZ = bool(os.environ.get('NNZERO_FUZZ'))

TORCHRUN = (sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node=2')
forks = pytest.mark.skipif(not hasattr(os, 'fork'), reason='the children are forked')

def bits(state):
    tensors, about = state
    about['record'].pop('seconds')
    for row in about['record']['history']: row.pop('seconds')
    return {name: t.numpy().tobytes() for name, t in tensors.items()}, about

@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    "A folder of a training that was never stopped"
    folder = tmp_path_factory.mktemp('whole')/'run'
    run(folder)
    return folder

def stop_at(monkeypatch, step, ask):
    "Call `ask(trainer)` when this many steps have been taken"
    original = Trainer.step
    def noted(self):
        loss = original(self)
        if loss is not None and self.done == step: ask(self)
        return loss
    monkeypatch.setattr(Trainer, 'step', noted)

# Stopped at any moment

@forks
@pytest.mark.parametrize('how, n', [('kills', 100), ('signals', 100)] if FUZZ else [('signals', 12)])
def test_kills(how, n):
    "One training, stopped n times at random moments: it resumes, loses no more than an interval, ends bit-equal"
    child = case(how, n, random.SystemRandom().randrange(10**6) if FUZZ else 3)
    out, err = child.communicate(timeout=300)
    assert child.returncode == 0, err
    seen = json.loads(out)
    print(seen)
    assert seen['equal'] and seen['kills'] == n and seen['most_lost'] <= seen['every'] and seen['distinct'] > n/3

@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('step', [1, 10, 37, 60])
def test_signal(number, step, tmp_path, whole, monkeypatch, capsys):
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    with monkeypatch.context() as patch:
        stop_at(patch, step, lambda t: os.kill(os.getpid(), number))
        if step == SETTINGS['steps']: run(tmp_path/'run')           # all was done: nothing to stop any more
        else:
            with pytest.raises(KeyboardInterrupt): run(tmp_path/'run')
            said = capsys.readouterr().err
            assert f'stopped after step {step}' in said and 'resumed' in said and said.count('\n') == 2
    assert {n: signal.getsignal(n) for n in before} == before
    assert json.loads(read_tensors(tmp_path/'run/state.safetensors')[1]['state'])['batches']['step'] == step
    run(tmp_path/'run')
    assert content(tmp_path/'run') == content(whole)

def test_second_ctrl_c_stops_at_once(tmp_path, monkeypatch):
    def twice(trainer):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
    stop_at(monkeypatch, 13, twice)
    with pytest.raises(KeyboardInterrupt): run(tmp_path/'run')
    assert json.loads(read_tensors(tmp_path/'run/state.safetensors')[1]['state'])['batches']['step'] == 10

def test_in_another_thread(tmp_path, whole):
    thread = threading.Thread(target=run, args=(tmp_path/'run',))
    thread.start(), thread.join()
    assert content(tmp_path/'run') == content(whole)

def test_stopped_without_a_folder(monkeypatch, capsys):
    stop_at(monkeypatch, 7, lambda t: setattr(t, 'stop', True))
    with pytest.raises(KeyboardInterrupt): run(None)
    assert 'stopped after step 7; nothing was saved' in capsys.readouterr().err

def test_sums_of_the_log_survive(tmp_path, monkeypatch, whole):
    "Stopped in the middle of an interval, the row for it is the mean over all of it"
    for step in (3, 17, 18, 55):
        with monkeypatch.context() as patch:
            stop_at(patch, step, lambda t: setattr(t, 'stop', True))
            with pytest.raises(KeyboardInterrupt): run(tmp_path/'run')
    run(tmp_path/'run')
    assert content(tmp_path/'run') == content(whole)

@pytest.mark.parametrize('kind', [LineData, TextData])
def test_resumed_in_memory(kind):
    "With SGD, accumulation, a step schedule, on lines and on a text"
    if kind is LineData: data = TRAIN, DEV
    else: data = TextData('the cat sat on the mat. '*20, text := CharTokenizer.train('the cat sat on the mat. ', mark=False), 8), \
                 TextData('the mat sat on the cat. '*3, text, 8)
    for settings in (dict(), dict(optimizer='sgd', schedule='step', lr=0.5, accumulate=4), dict(clip=None, precision='bfloat16')):
        config = TrainConfig(**SETTINGS | settings)
        def new(seed): return Trainer(small(seed), *data, config)
        def steps(t, n):
            for _ in range(n): t.step()
            return t
        one, two = steps(new(0), 9), steps(new(0), 4)
        saved = two.state()
        steps(two, 3)                                               # a state is a copy
        three = new(1)
        three.load_state(*saved)
        assert bits(steps(three, 5).state()) == bits(one.state())
        four = new(2)
        four.load_state(*saved)                                     # and is not changed by its use
        assert bits(steps(four, 5).state()) == bits(one.state())

def test_samples_change_nothing(tmp_path, whole, monkeypatch):
    "A sampler that draws and leaves the model as it got it: the same weights, and the same samples after a resumption"
    def sampler(model): return [str((model.training, torch.rand(1).item()))]
    def go(folder): return train(small(), TRAIN, DEV, TrainConfig(**SETTINGS), tmp_path/folder, TOK, resume=True, sampler=sampler, progress=False)
    go('one')
    with monkeypatch.context() as patch:
        stop_at(patch, 37, lambda t: setattr(t, 'stop', True))
        with pytest.raises(KeyboardInterrupt): go('two')
    torch.rand(5)
    trainer = go('two')
    assert content(tmp_path/'one') == content(tmp_path/'two') and content(tmp_path/'one')[0] == content(whole)[0]
    samples = [row['samples'][0] for row in trainer.record.history]
    assert len(set(samples)) == 7 and all('False' in text for text in samples)

def test_double_precision(tmp_path):
    one, two = (Trainer(small(seed).double(), TRAIN, DEV, TrainConfig(**SETTINGS)) for seed in (0, 1))
    for _ in range(3): one.step()
    two.load_state(*one.state())
    assert one.step() == two.step()

# What can't be written

@pytest.mark.parametrize('n', range(1, 24))
def test_full_disk(n, tmp_path, whole, monkeypatch):
    "The n-th file does not fit: one line, what was there is still whole, and it goes on from there"
    left = iter(range(n - 1))
    def fsync(fd):
        if next(left, None) is None: raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with monkeypatch.context() as patch:
        patch.setattr('nnzero.lm.data.os.fsync', fsync)
        with pytest.raises(FolderError, match='No space left') as e: run(tmp_path/'run')
    assert '\n' not in str(e.value) and ('resumed from step' in str(e.value)) == (tmp_path/'run/state.safetensors').exists()
    assert not list((tmp_path/'run').glob('.*.*-*'))
    run(tmp_path/'run')
    assert content(tmp_path/'run') == content(whole)

@forks
@pytest.mark.skipif(hasattr(os, 'geteuid') and os.geteuid() != 0, reason='needs to become another user')
def test_folder_of_someone_else(tmp_path):
    pid = os.fork()
    if pid == 0:
        try:
            os.setuid(65534)
            run('/etc/nnzero')
        except FolderError as e: os._exit(0 if 'Permission denied' in str(e) and '\n' not in str(e) else 2)
        except BaseException: os._exit(3)
        os._exit(4)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

def test_no_folder(tmp_path):
    (tmp_path/'file').write_text('x')
    with pytest.raises(FolderError, match='File exists|Not a directory'): run(tmp_path/'file')
    with pytest.raises(FolderError, match='Not a directory|File exists'): run(tmp_path/'file'/'deeper')

def test_in_use(tmp_path):
    (tmp_path/'run').mkdir()
    with FileLock(tmp_path/'run/.lock'):
        with pytest.raises(FolderError, match='another training uses it'): run(tmp_path/'run')
        assert [p.name for p in (tmp_path/'run').iterdir()] == ['.lock']
    run(tmp_path/'run', steps=1)

def test_not_overwritten(tmp_path):
    run(tmp_path/'run', resume=False, steps=3)
    before = {p.name: p.read_bytes() for p in (tmp_path/'run').iterdir()}
    with pytest.raises(DataError, match='resume'): run(tmp_path/'run', resume=False)
    assert {p.name: p.read_bytes() for p in (tmp_path/'run').iterdir()} == before
    save_model(tmp_path/'fitted', Bigram(BigramConfig(TOK.vocab_size)), TOK)
    for resume in (False, True):
        with pytest.raises(DataError, match='a model lies here'): run(tmp_path/'fitted', resume=resume)

def test_killed_before_the_first_state(tmp_path):
    (tmp_path/'run').mkdir()
    (tmp_path/'run/config.json').write_text('{}')
    (tmp_path/'run/.state.safetensors.77-88').write_bytes(b'half')
    run(tmp_path/'run', resume=False, steps=3)
    assert not list((tmp_path/'run').glob('.*.*-*'))

# A state that is none

def rewritten(path, change):
    tensors, about = read_tensors(path)
    about = json.loads(about['state'])
    change(tensors, about)
    module._write(path, tensors, state=json.dumps(about))

DAMAGE = dict(
    empty=lambda p: p.write_bytes(b''), half=lambda p: p.write_bytes(p.read_bytes()[:p.stat().st_size//2]),
    header=lambda p: p.write_bytes(p.read_bytes()[:50]), last_byte=lambda p: p.write_bytes(p.read_bytes()[:-1]),
    more=lambda p: p.write_bytes(p.read_bytes() + b'x'), pickle=lambda p: p.write_bytes(pickle.dumps({'a': 1})),
    torch=lambda p: torch.save({'weights/embed.weight': torch.zeros(2)}, p), text=lambda p: p.write_text('hello'*100),
    no_state=lambda p: module._write(p, {'weights/embed.weight': torch.zeros(2)}),
    no_json=lambda p: module._write(p, read_tensors(p)[0], state='{"format": 1'),
    a_list=lambda p: module._write(p, read_tensors(p)[0], state='[1]'), null=lambda p: module._write(p, read_tensors(p)[0], state='null'),
    **{name: (lambda change: lambda p: rewritten(p, change))(change) for name, change in dict(
        format=lambda t, a: a.update(format=2), no_record=lambda t, a: a.pop('record'), no_batches=lambda t, a: a.pop('batches'),
        extra=lambda t, a: a['record'].update(more=1), history=lambda t, a: a['record'].update(history=7),
        row=lambda t, a: a['record']['history'].append({'step': 5}), best=lambda t, a: a['record'].update(best=None),
        sums=lambda t, a: a['record'].update(nats='x'), step=lambda t, a: a['batches'].update(step=-1),
        config=lambda t, a: a.update(config=[]), lr=lambda t, a: a['config'].update(lr=0.5), lack=lambda t, a: a['config'].pop('lr'),
        data=lambda t, a: a.update(data='0'), weight=lambda t, a: t.pop('weights/mix.bias'), moment=lambda t, a: t.pop('exp_avg/mix.bias'),
        shape=lambda t, a: t.update({'weights/mix.bias': torch.zeros(13)}), other=lambda t, a: t.update({'weights/x': torch.zeros(1)}),
        dtype=lambda t, a: t.update({'weights/mix.bias': torch.zeros(12).double()}),
        moments=lambda t, a: t.update({'exp_avg/mix.bias': torch.zeros(5)}), unknown=lambda t, a: t.update({'exp_avg/y': torch.zeros(5)}),
    ).items()})

@pytest.mark.parametrize('name', DAMAGE)
def test_damaged(name, tmp_path, whole):
    for path in whole.iterdir():
        (tmp_path/path.name).write_bytes(path.read_bytes())
    DAMAGE[name](tmp_path/'state.safetensors')
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(DataError) as e: run(tmp_path, steps=70)
    assert '\n' not in str(e.value) and 'state.safetensors' in str(e.value), e.value
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before

def test_a_pickle_is_not_run(tmp_path):
    class Bomb:
        def __reduce__(self): return Path.touch, (tmp_path/'boom',)
    (tmp_path/'state.safetensors').write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError): run(tmp_path)
    assert not (tmp_path/'boom').exists()

def test_other_settings(tmp_path, whole):
    for path in whole.iterdir(): (tmp_path/path.name).write_bytes(path.read_bytes())
    other = dict(batch_size=4, lr=1.0, optimizer='sgd', schedule='constant', warmup=7, floor=0.5, drop=0.1, weight_decay=0.0,
                 betas=(0.5, 0.5), clip=None, accumulate=2, seed=5, precision='bfloat16', compile=True)
    assert {*other, *FREE} == {f.name for f in dataclasses.fields(TrainConfig)}
    for name, value in other.items():
        if name == 'compile': continue
        with pytest.raises(DataError, match=f'was trained with {name} '): run(tmp_path, **{name: value})
    with pytest.raises(DataError, match='other data'):
        train(small(), DEV, TRAIN, TrainConfig(**SETTINGS), tmp_path, TOK, resume=True)
    with pytest.raises(DataError, match='size mismatch for'):
        train(Small(SmallConfig(TOK.vocab_size, width=13)), TRAIN, DEV, TrainConfig(**SETTINGS), tmp_path, TOK, resume=True)
    trainer = run(tmp_path, steps=75, eval_every=25)                # these may change
    assert trainer.done == 75 and [row['step'] for row in trainer.record.history][-3:] == [50, 60, 75]

def test_finished_is_finished(tmp_path, whole, capsys):
    for path in whole.iterdir(): (tmp_path/path.name).write_bytes(path.read_bytes())
    run(tmp_path)
    assert content(tmp_path) == content(whole)
    assert capsys.readouterr().err == f'nnzero: {tmp_path}: all 60 steps have been taken\n'
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(DataError, match='60 steps have been taken, and steps is 50') as e: run(tmp_path, steps=50)
    assert '\n' not in str(e.value) and {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before

def test_class_of_an_error():
    "The command tells them apart by their classes: a diverged training is none of a folder's faults"
    assert issubclass(FolderError, TrainError) and not issubclass(module.Diverged, FolderError)

# Each part of the state matters

def test_each_part_of_the_state_matters():
    config = TrainConfig(**SETTINGS | dict(steps=40, eval_every=5))
    def go(trainer, upto):
        while True:
            if trainer.done % 5 == 0: trainer.evaluate()
            if trainer.done == upto: return trainer
            trainer.step()
    one = go(Trainer(small(), TRAIN, DEV, config), 17)
    tensors, about = one.state()
    end = bits(go(one, 40).state())
    def resumed(t, a):
        two = Trainer(small(1), TRAIN, DEV, config)
        two.load_state(t, json.loads(json.dumps(a)))
        return bits(go(two, 40).state())
    assert resumed(tensors, about) == end
    for name, t in tensors.items():
        if name == 'weights/norm.num_batches_tracked': continue     # BatchNorm with a momentum does not use it
        changed = {k: v.clone() for k, v in tensors.items()}
        changed[name] = torch.zeros_like(t) if t.any() else torch.ones_like(t)
        assert resumed(changed, about) != end, name
    record = about['record']
    for change in (dict(batches=about['batches'] | dict(step=16)), dict(record=record | dict(best=[0.0, 3])),
                   dict(record=record | dict(nats=0.0)), dict(record=record | dict(predictions=1)),
                   dict(record=record | dict(tokens=0)), dict(record=record | dict(history=[]))):
        assert resumed(tensors, about | change) != end, change

def test_generators_are_left_alone(tmp_path):
    torch.manual_seed(5), random.seed(5)
    before, python = torch.get_rng_state(), random.getstate()
    run(tmp_path/'run', steps=12)
    assert torch.equal(torch.get_rng_state(), before) and random.getstate() == python
    torch.rand(7)
    one = run(None, steps=12)
    torch.manual_seed(6)
    assert bits(one.state())[0] == bits(run(None, steps=12).state())[0]

# Several processes

@forks
def test_several_processes(tmp_path):
    plain = dict(norm=False, dropout=0.0, eval_every=1, steps=12)
    (one, two, four, *on), err, status = team(
        (1, tmp_path/'one', plain), (2, tmp_path/'two', plain), (2, tmp_path/'four', plain | dict(accumulate=2)),
        (2, tmp_path/'two', plain | dict(steps=14)), (1, tmp_path/'two', plain | dict(steps=16)))     # on with two, and with one
    assert status == 0, err
    assert len(one) == 12 and max(abs(a - b) for a, b in zip(one, two)) < 1e-6
    assert max(abs(a - b) for a, b in zip(one, four)) < 1e-6
    assert [len(losses) for losses in on] == [14, 16] and on[0][:12] == two and on[1][:14] == on[0]
    one, four = (read_tensors(tmp_path/f/'model.safetensors')[0] for f in ('one', 'four'))
    assert all((one[name] - four[name]).abs().max() < 1e-4 for name in one)

@forks
def test_processes_that_do_not_see_the_same(tmp_path):
    "As on two machines without a shared folder: one would go on from step 10, the other would begin"
    run(tmp_path/'run0', steps=10)
    before = (tmp_path/'run0/state.safetensors').read_bytes()
    _, err, status = team((2, tmp_path/'runRANK', dict(steps=20)))
    assert status == 1 and err.count('DataError: the processes of this training see different') == 2, err
    assert (tmp_path/'run0/state.safetensors').read_bytes() == before

def ranks(folder):
    "pid of each rank that trains into a folder"
    found = {}
    for entry in Path('/proc').iterdir():
        try: args, env = ((entry/name).read_bytes().split(b'\0') for name in ('cmdline', 'environ'))
        except OSError: continue
        rank = [v for v in env if v.startswith(b'RANK=')]
        if str(folder).encode() in args and rank: found[int(rank[0][5:])] = int(entry.name)
    return found

def until(true, seconds=60):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)

@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='finds the processes in /proc')
@pytest.mark.parametrize('rank', [0, 1])
def test_one_of_two_is_killed(rank, tmp_path):
    folder, settings = tmp_path/'run', dict(steps=100_000, eval_every=20)
    alone = rank == 0                                               # without torchrun, which would stop the other one, too
    child = case('together', 2, folder, json.dumps(settings)) if alone else case('run', folder, json.dumps(settings), tool=TORCHRUN)
    try:
        pids = json.loads(child.stdout.readline()) if alone else None
        until((folder/'state.safetensors').exists)
        time.sleep(0.3)
        os.kill((pids or ranks(folder))[rank], signal.SIGKILL)
        out, err = child.communicate(timeout=60)
    finally:
        if child.poll() is None: os.killpg(child.pid, signal.SIGKILL)
    said = [line for line in err.splitlines() if line.startswith(f'rank {1 - rank}')]
    assert len(said) == 1 and 'TrainError: another process of this training has stopped' in said[0], err
    step = int(re.search(r'resumed from step (\d+)', said[0])[1])
    until(lambda: not ranks(folder))
    if rank == 1:                                                   # together again, and stopped by Ctrl-C
        child = case('run', folder, json.dumps(settings), tool=TORCHRUN)
        size = (folder/'log.csv').stat().st_size
        until(lambda: (folder/'log.csv').stat().st_size > size + 50)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
        assert 'stopped after step' in err and 'resumed' in err, err
        at = int(re.search(r'stopped after step (\d+)', err)[1])
        assert at > step
        step = at
    saved = json.loads(read_tensors(folder/'state.safetensors')[1]['state'])['batches']['step']
    assert saved == step

# The loss of a batch, and what a step does

def test_accumulation_is_one_batch():
    grads = []
    for k in (1, 2, 4, 8):
        t = Trainer(small(norm=False, dropout=0.0), TRAIN, DEV, TrainConfig(**SETTINGS | dict(accumulate=k, clip=None)))
        parts = module._parts(t.batches.at(0), k, t.device)
        loss = module._backward(t, parts, sum(n for *_, n in parts))
        grads.append((loss, [p.grad.clone() for p in t.model.parameters()]))
    x, y = t.batches.at(0)
    model = small(norm=False, dropout=0.0)
    nll(model(x), y).backward()
    assert len({tuple((y.chunk(4)[i] >= 0).sum().item() for i in range(4))}) and len({(c >= 0).sum().item() for c in y.chunk(4)}) > 1
    for loss, g in grads:
        assert loss == pytest.approx(nll(model(x), y).item(), abs=1e-6)
        assert all((a - p.grad).abs().max() < 1e-6 for a, p in zip(g, model.parameters()))

def test_equals_a_plain_loop():
    config = TrainConfig(**SETTINGS | dict(weight_decay=0.1))
    t, model = Trainer(small(dropout=0.0), TRAIN, DEV, config), small(dropout=0.0)
    optimizer = make_optimizer(model, config)
    for step in range(20):
        x, y = t.batches.at(step)
        loss = nll(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        for group in optimizer.param_groups: group['lr'] = rate(step, config)
        optimizer.step(), optimizer.zero_grad()
        assert t.step() == loss.item()
    assert all(torch.equal(a, b) for a, b in zip(t.model.parameters(), model.parameters()))

def test_groups():
    class Tied(nn.Module):
        def __init__(self, tie):
            super().__init__()
            self.embed, self.place, self.norm = nn.Embedding(5, 4), nn.Embedding(3, 4), nn.LayerNorm(4)
            self.out, self.rnn = nn.Linear(4, 5), nn.LSTM(4, 4)
            self.frozen = nn.Parameter(torch.zeros(2, 2), requires_grad=False)
            if tie: self.out.weight = self.embed.weight
    for tie in (False, True):
        model = Tied(tie)
        decay, rest = parameter_groups(model, 0.3)
        name = {p: n for n, p in model.named_parameters()}
        assert decay['weight_decay'] == 0.3 and rest['weight_decay'] == 0
        assert {name[p] for p in decay['params']} == {'rnn.weight_ih_l0', 'rnn.weight_hh_l0', 'embed.weight' if tie else 'out.weight'}
        assert len(decay['params']) + len(rest['params']) == sum(p.requires_grad for p in model.parameters())
    with pytest.raises(DataError, match='no parameters'): parameter_groups(nn.Tanh(), 0.1)

def test_schedules():
    c = TrainConfig(steps=100, lr=2.0, warmup=10, floor=0.1)
    rates = [rate(i, c) for i in range(101)]
    assert rates[:10] == pytest.approx([0.2*i for i in range(1, 11)]) and rates[10] == 2 == max(rates)
    assert rates[55] == pytest.approx(1.1) and rates[100] == pytest.approx(0.2) and rates[10:] == sorted(rates[10:], reverse=True)
    c = TrainConfig(steps=100, lr=2.0, warmup=0, schedule='step', drop=0.75)
    assert [rate(i, c) for i in (0, 74, 75, 99)] == [2, 2, 0.2, 0.2]
    assert {rate(i, TrainConfig(lr=2.0, schedule='constant', warmup=0)) for i in range(50)} == {2}
    assert rate(0, TrainConfig(steps=20)) == 3e-3 and rate(0, TrainConfig(steps=5000)) == pytest.approx(3e-5)
    assert rate(10**9, TrainConfig()) == 0 and rate(0, TrainConfig(steps=0)) == 3e-3

@pytest.mark.parametrize('wrong', [dict(steps=-1), dict(steps=1.5), dict(steps=True), dict(steps='5'), dict(batch_size=0), dict(lr=-1),
    dict(lr=math.nan), dict(lr=math.inf), dict(lr=None), dict(optimizer='adam'), dict(schedule=None), dict(warmup=-1), dict(warmup=0.1),
    dict(floor=2), dict(drop=-0.1), dict(weight_decay=-1), dict(betas=(0.9,)), dict(betas=(0.9, 1.0)), dict(betas=0.9), dict(betas='ab'),
    dict(clip=-1), dict(clip='x'), dict(accumulate=0), dict(eval_every=0), dict(seed=-1), dict(seed=None), dict(precision='float16'),
    dict(compile='yes'), dict(optimizer=[])])
def test_config(wrong):
    with pytest.raises(DataError, match=next(iter(wrong))): TrainConfig(**wrong)

def test_other_wrong_input(tmp_path):
    for wrong, words in ((dict(batch_size=6, accumulate=4), 'equal parts'), (dict(device='nowhere'), 'nowhere'), (dict(device='cuda:99'), 'cuda:99')):
        with pytest.raises(DataError, match=words) as e: run(tmp_path/'run', **wrong)
        assert '\n' not in str(e.value)
    with pytest.raises(DataError): train(small(), 'names', DEV, TrainConfig())
    assert not (tmp_path/'run').exists()

def test_no_number(tmp_path):
    class Breaks(Small):
        def forward(self, idx): return super().forward(idx)*(math.nan if self.training and torch.rand(1) > 0.9 else 1)
    def new(): return Breaks(SmallConfig(TOK.vocab_size))
    with pytest.raises(TrainError, match=r'step \d+: the loss is nan; try a rate smaller than 0.01') as e: run(tmp_path/'run', model=new())
    assert '\n' not in str(e.value)
    tensors, _ = read_tensors(tmp_path/'run/state.safetensors')
    assert all(t.isfinite().all() for t in tensors.values())
    with pytest.raises(TrainError): run(None, optimizer='sgd', lr=1e30, clip=None)

# Weights and folders

@pytest.mark.parametrize('model', [small(), MLP(MLPConfig(TOK.vocab_size)), Bigram(BigramConfig(TOK.vocab_size)).fit(TRAIN),
    NGram(NGramConfig(TOK.vocab_size, order=3)).fit(TRAIN), Unigram(TOK.vocab_size).fit(TRAIN)], ids=lambda m: m.name)
def test_weights(model, tmp_path):
    module._write(tmp_path/'w', weights(model))
    if hasattr(model, 'config'):
        save_model(tmp_path/'run', model, TOK, info={'source': 'here'})
        about = json.loads((tmp_path/'run/config.json').read_text())
        assert about['model'] == json.loads(json.dumps(dict(name=model.name, **dataclasses.asdict(model.config))))
        assert about['train'] is None and about['data'] == {'source': 'here'} and about['format'] == 1
        assert (tmp_path/'run/model.safetensors').read_bytes() == (tmp_path/'w').read_bytes()
    other = type(model)(model.config if hasattr(model, 'config') else TOK.vocab_size)
    load_weights(other, read_tensors(tmp_path/'w')[0])
    assert {n: t.numpy().tobytes() for n, t in other.state_dict().items()} == {n: t.numpy().tobytes() for n, t in model.state_dict().items()}
    assert evaluate(other, DEV) == evaluate(model, DEV)

def test_weights_are_strict():
    model, own = small(), weights(small())
    assert 'out.weight' not in own and 'norm.running_mean' in own
    load_weights(model, own)
    load_weights(model, {('out.weight' if name == 'embed.weight' else name): t for name, t in own.items()})
    for wrong, words in ((own | {'x': torch.zeros(1)}, 'no x'), ({k: v for k, v in own.items() if k != 'mix.bias'}, 'no mix.bias'),
                         (own | {'mix.bias': torch.zeros(3)}, 'mix.bias'), (own | {'mix.bias': own['mix.bias'].double()}, 'float64')):
        with pytest.raises(DataError, match=words) as e: load_weights(model, wrong)
        assert '\n' not in str(e.value)
    with pytest.raises(DataError): load_weights(NGram(NGramConfig(5, order=3)), weights(NGram(NGramConfig(6, order=3))))
    with pytest.raises(DataError, match='no such|No such'): read_tensors('/nowhere/x.safetensors')

def test_files(tmp_path, capsys):
    from xml.dom import minidom
    trainer = train(small(), TRAIN, DEV, TrainConfig(**SETTINGS), tmp_path/'deep/run', TOK, tensorboard=True,
                    sampler=lambda model: [f'training {model.training}', str(torch.rand(1).shape)], info={'source': 'x'})
    run_ = tmp_path/'deep/run'
    names = {p.name for p in run_.iterdir()}
    assert names >= {'config.json', 'tokenizer.json', 'model.safetensors', 'state.safetensors', 'log.csv', 'loss.svg', 'samples.txt'}
    assert any('tfevents' in name for name in names)
    log = (run_/'log.csv').read_text().splitlines()
    assert log[0] == 'step,lr,train,dev,tokens,seconds' and len(log) == 8 and log[1].split(',')[2] == ''
    minidom.parse(str(run_/'loss.svg'))
    assert (run_/'samples.txt').read_text().count('training') == 7
    said = capsys.readouterr().err
    assert 'step 60: train' in said and 'dev' in said
    best, step = trainer.record.best
    assert best == min(row['dev'] for row in trainer.record.history)
    model = small(3)
    load_weights(model, read_tensors(run_/'model.safetensors')[0])
    assert evaluate(model, DEV) == best
    about = json.loads((run_/'config.json').read_text())
    assert about['train'] == json.loads(json.dumps(dataclasses.asdict(trainer.config))) and about['data'] == {'source': 'x'}
    assert CharTokenizer.load(run_/'tokenizer.json').chars == TOK.chars

def test_evaluates_in_eval_mode():
    trainer = run(None, steps=5, model=small(dropout=0.9))
    assert trainer.model.training and trainer.record.history[-1]['dev'] == evaluate(trainer.model, DEV)
    asleep = small(dropout=0.9).eval()
    assert bits(run(None, steps=5, model=asleep).state())[0] == bits(trainer.state())[0]
