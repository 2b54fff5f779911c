"""Build the source archive and the wheel, and use the wheel in an environment of its own.

The libraries that the wheel asks for are borrowed from the environment that runs this script, so that torch is not
installed a second time; that the wheel asks for all of them is checked from its metadata."""
import os
import subprocess
import sys
import tempfile
import zipfile
from configparser import ConfigParser
from pathlib import Path
from site import getsitepackages

root = Path(__file__).resolve().parent.parent
cfg = ConfigParser()
cfg.read(root/'settings.ini', encoding='utf-8')
cfg = cfg['DEFAULT']

with tempfile.TemporaryDirectory() as tmp:
    tmp = Path(tmp)
    subprocess.check_call([sys.executable, '-m', 'build', '--outdir', tmp/'dist', root], stdout=subprocess.DEVNULL)
    wheel, = (tmp/'dist').glob('*.whl')
    archive = zipfile.ZipFile(wheel)
    names = archive.namelist()
    modules = [p.relative_to(root).as_posix() for p in (root/'nnzero').rglob('*.py')]
    data = [p.relative_to(root).as_posix() for p in (root/'nnzero'/'data').iterdir()]
    missing = [n for n in modules + data if n not in names]
    if missing: sys.exit(f'the wheel lacks {", ".join(missing)}')
    metadata = archive.read(next(n for n in names if n.endswith('METADATA'))).decode()
    for requirement in cfg['requirements'].split():
        if f'Requires-Dist: {requirement}' not in metadata: sys.exit(f'the wheel does not ask for {requirement}')

    env = tmp/'env'
    subprocess.check_call([sys.executable, '-m', 'venv', env])
    scripts = env/('Scripts' if os.name == 'nt' else 'bin')
    subprocess.check_call([scripts/'python', '-m', 'pip', 'install', '-q', '--disable-pip-version-check', '--no-deps', wheel])
    path = os.pathsep.join(p for p in getsitepackages() if Path(p).is_dir())
    run = lambda *args: subprocess.run([scripts/args[0], *args[1:]], cwd=tmp, text=True, capture_output=True,
                                       env=dict(os.environ, PYTHONPATH=''))
    out = run('python', '-c', 'from nnzero.micrograd.engine import Value; import nnzero\n'
                              'x = Value(3.0); (x*x).backward(); print(x.grad, nnzero.__version__, nnzero.__file__)')
    if out.returncode or not out.stdout.startswith(f"6.0 {cfg['version']}") or str(env) not in out.stdout:
        sys.exit(f'the wheel does not work by itself:\n{out.stdout}{out.stderr}')
    (next(env.rglob('site-packages'))/'borrowed.pth').write_text(path + '\n')
    out = run('nnzero', '--version')
    if out.returncode or cfg['version'] not in out.stdout: sys.exit(f'nnzero --version: {out.stdout}{out.stderr}')
    for args in (['train', 'companies', '--steps', '30'], ['sample', '-n', '3'], ['eval']):
        out = run('nnzero', *args)
        if out.returncode or not out.stdout: sys.exit(f'nnzero {" ".join(args)}: {out.stdout}{out.stderr}')
    print(f'{wheel.name}: {len(modules)} modules, {len(data)} data files, imports and runs in an environment of its own')
