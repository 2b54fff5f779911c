"Graphs and their drawings, on random expressions and odd labels"
import os, shutil, subprocess, sys
from unittest.mock import patch
import pytest
from hypothesis import given, settings, strategies as st
from nnzero.micrograd.engine import Value, topological
from nnzero.micrograd.graph import NO_DOT, Graph, draw_dot, trace

needs_dot = pytest.mark.skipif(not shutil.which('dot'), reason='needs the program dot')
CHOICES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 99), st.integers(0, 99)), max_size=30)

def grow(choices, labels=()):
    "A random expression; the same choices give the same one"
    made = [Value(1.0), Value(-2.0)]
    for op, i, j in choices:
        x, y = made[i % len(made)], made[j % len(made)]
        made.append([lambda: x + y, lambda: x*y, lambda: x - y, lambda: x.tanh(), lambda: -x, lambda: x.relu()][op]())
    for v, label in zip(made, labels): v.label = label
    return made[-1]

def distances(root):
    "Steps from the root, by relaxation: another way than the chapter's"
    far, changed = {root: 0}, True
    while changed:
        changed = False
        for p, v in trace(root)[1]:
            if v in far and far.get(p, 10**9) > far[v] + 1: far[p], changed = far[v] + 1, True
    return far

@given(CHOICES)
def test_trace_is_complete(choices):
    root = grow(choices)
    nodes, edges = trace(root)
    assert len(nodes) == len(set(nodes)) and nodes[-1] is root
    place = {v: i for i, v in enumerate(nodes)}
    assert all(place[p] < place[v] for p, v in edges)
    assert len(edges) == sum((v.a is not None) + (v.b is not None) for v in nodes)

@given(CHOICES, st.integers(1, 40))
def test_limit_keeps_the_nearest(choices, limit):
    root = grow(choices)
    nodes = topological(root)
    for i, v in enumerate(nodes): v.label = f'number {i}.'
    source, far = draw_dot(root, limit=limit).source, distances(root)
    drawn = [v for v in nodes if v.label in source]
    assert len(drawn) == min(limit, len(nodes)) == source.count('data ')
    left = [v for v in nodes if v not in drawn]
    assert all(far[v] <= far[u] for v in drawn for u in left)
    assert (f'{len(left)} more' in source) == bool(left)

@given(CHOICES)
def test_text_is_stable(choices):
    assert draw_dot(grow(choices)).source == draw_dot(grow(choices)).source

def test_text_is_stable_between_processes():
    code = ('from nnzero.micrograd.engine import Value; from nnzero.micrograd.graph import draw_dot;'
            'x = Value(2.0, "x"); print(draw_dot((x*x + x.tanh())*Value(3.0)).source)')
    runs = {subprocess.run([sys.executable, '-c', code], capture_output=True, check=True,
                           env=os.environ | {'PYTHONHASHSEED': seed}).stdout for seed in '123'}
    assert len(runs) == 1

@needs_dot
@settings(max_examples=25)
@given(st.text(st.characters(exclude_categories=['Cs', 'Cc']), max_size=20))
def test_dot_accepts_any_label(label):
    svg = draw_dot(Value(1.0, label)*2).pipe().decode()
    assert svg.count('<g id="node') == 4

@needs_dot
def test_pictures():
    svg = draw_dot(Value(1.0, 'x') + 1)._repr_mimebundle_()
    assert svg['image/svg+xml'].startswith('<?xml') and svg['text/plain'] == 'Graph'
    assert 'fill="white"' in svg['image/svg+xml']
    png = draw_dot(Value(1.0), format='png')._repr_mimebundle_()['image/png']
    assert png[:4] == b'\x89PNG'

def test_without_dot(tmp_path):
    with patch.dict(os.environ, PATH=str(tmp_path)): shown = draw_dot(Value(1.0))._repr_mimebundle_()
    assert list(shown) == ['text/plain'] and shown['text/plain'].endswith(NO_DOT)

@pytest.mark.parametrize('kwargs, match', [(dict(limit=0), 'limit'), (dict(limit=-3), 'limit'), (dict(rankdir='X'), 'rankdir')])
def test_wrong_arguments(kwargs, match):
    with pytest.raises(ValueError, match=match): draw_dot(Value(1.0), **kwargs)

def test_wrong_root():
    for root in (3.0, None, [Value(1.0)]):
        with pytest.raises(TypeError, match='starts at a Value'): draw_dot(root)

def test_deep_and_wide():
    v = Value(1.0)
    for _ in range(100_000): v = v + 1
    assert isinstance(draw_dot(v), Graph) and draw_dot(v).source.count('data ') == 50
