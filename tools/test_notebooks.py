"""Run every notebook with nbdev_test and count them: nbdev_test itself is content with none.

    python tools/test_notebooks.py [--flags canonical] [--data FOLDER] [--limit SECONDS]"""
import argparse
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

root = Path(__file__).resolve().parent.parent
parser = argparse.ArgumentParser()
parser.add_argument('--flags', default='', help='also run cells that carry one of these flags')
parser.add_argument('--data', help='a folder with the real data; without it the shipped data is used')
parser.add_argument('--limit', type=float, default=1200, help='seconds for all of them; nbdev_test itself waits for ever')
args = parser.parse_args()

notebooks = [p for p in (root/'nbs').rglob('*.ipynb') if not any(part[0] in '._' for part in p.relative_to(root).parts)]
data = str(Path(args.data).resolve()) if args.data else str(root/'nnzero'/'data'/'none')
env = dict(os.environ, NNZERO_DATA=data, OMP_NUM_THREADS=os.environ.get('OMP_NUM_THREADS', '1'))
env['PATH'] = str(Path(sys.executable).parent) + os.pathsep + env['PATH']
print(f'nnzero: running {len(notebooks)} notebooks' + (f' with flags {args.flags}' if args.flags else ''), flush=True)
process = subprocess.Popen(['nbdev_test', '--do_print', '--timing', '--flags', args.flags], cwd=root, env=env,
                           stdout=subprocess.PIPE, text=True, start_new_session=True)
def end():
    "Stop nbdev_test and the processes that it has started"
    os.killpg(process.pid, signal.SIGKILL) if hasattr(os, 'killpg') else process.kill()

watch = threading.Timer(args.limit, end)
watch.start()
done = 0
try:
    for line in process.stdout:
        done += line.startswith('- Completed')
        print(line, end='', flush=True)
    code = process.wait()
except KeyboardInterrupt:
    end()
    raise
finally: watch.cancel()
if code < 0: sys.exit(f'nnzero: stopped after {args.limit:g} s; of the notebooks above, one that began and was not completed hangs')
if code == 0 and done != len(notebooks):
    sys.exit(f'nnzero: {done} of {len(notebooks)} notebooks ran')
if code == 0: print(f'notebooks: {done} passed, 0 failed', flush=True)
sys.exit(code)
