"""Make `.venv` with everything that the book needs, or say in one line why that can't be.

    python3 tools/environment.py

Standard library only, and plain enough for an old Python to read, so that it can say that it is too old.
A second call finds the environment as it should be and does nothing."""
from __future__ import print_function
import hashlib
import os
import platform
import subprocess
import sys
try:
    from configparser import ConfigParser
except ImportError:
    sys.exit('nnzero: this is Python 2, and nnzero needs Python 3: make PYTHON=python3 ...')

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, '.venv')
PYTHON = os.path.join(VENV, *(('Scripts', 'python.exe') if os.name == 'nt' else ('bin', 'python')))
STAMP = os.path.join(VENV, 'nnzero.stamp')
CPU_INDEX = 'https://download.pytorch.org/whl/cpu'      # torch without CUDA: gigabytes less


def settings():
    ini = ConfigParser()
    ini.read(os.path.join(ROOT, 'settings.ini'), encoding='utf-8')
    return ini['DEFAULT']


def obstacle(cfg):
    "Why no environment can be made here, or None"
    lowest = tuple(int(n) for n in cfg['min_python'].split('.'))
    if sys.version_info[:2] < lowest:
        return 'this is Python %d.%d, and nnzero needs %s or newer: make PYTHON=python%s ...' % (
            sys.version_info[0], sys.version_info[1], cfg['min_python'], cfg['min_python'])
    if sys.maxsize < 2**32:
        return 'this is a 32-bit Python, for which there is no PyTorch: install a 64-bit one'
    if sys.platform == 'darwin' and platform.machine() == 'x86_64':
        return 'there is no current PyTorch for Macs with an Intel processor'
    try:
        import ensurepip, venv                          # noqa: F401
    except ImportError:
        return 'this Python lacks its venv module: on Debian and Ubuntu, apt install python3-venv'
    hidden = [p for p in ROOT.split(os.sep) if p.startswith('.')]
    if hidden:
        return "the checkout lies under the folder '%s', and nbdev passes over folders that begin with a dot: " \
               'move it' % hidden[0]
    return None


def wanted():
    "What the environment depends on, as a hash"
    text = [sys.version, ROOT]
    for name in ('settings.ini', 'setup.py', 'constraints.txt'):
        with open(os.path.join(ROOT, name), encoding='utf-8') as f: text.append(f.read())
    return hashlib.sha256('\n'.join(text).encode()).hexdigest()


def reachable(url):
    from urllib.request import urlopen
    try:
        with urlopen(url + '/torch/', timeout=5): return True
    except Exception:                                   # whatever it is: we can do without
        return False


def say(line):
    print('nnzero: ' + line)
    sys.stdout.flush()


def make():
    stamp = wanted()
    if os.path.exists(STAMP) and os.path.exists(PYTHON):
        with open(STAMP) as f:
            if f.read() == stamp: return say('environment .venv is ready')
    say('making the environment .venv (once; a few minutes, most of them for PyTorch)')
    subprocess.check_call([sys.executable, '-m', 'venv', '--clear', VENV])
    say('installing the packages that constraints.txt names')
    pip = [PYTHON, '-m', 'pip', '--disable-pip-version-check', 'install', '--progress-bar', 'on',
           '-c', os.path.join(ROOT, 'constraints.txt')]
    cpu = sys.platform.startswith('linux') and reachable(CPU_INDEX)
    subprocess.check_call(pip + (['--extra-index-url', CPU_INDEX] if cpu else []) + ['torch'], cwd=ROOT)
    subprocess.check_call(pip + ['-e', '.[dev]'], cwd=ROOT)
    with open(STAMP, 'w') as f: f.write(stamp)
    say('environment .venv is ready')


if __name__ == '__main__':
    why = obstacle(settings())
    if why: sys.exit('nnzero: ' + why)
    try: make()
    except subprocess.CalledProcessError as e:
        sys.exit('nnzero: the environment could not be made; the lines above say why, and the next call tries again')
    except KeyboardInterrupt: sys.exit('\nnnzero: stopped; the next call begins again')
