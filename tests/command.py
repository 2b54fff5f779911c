"The command, called in this process or started in another: for the tests that use it."
import os, subprocess, sys
from pathlib import Path
from typer.testing import CliRunner
from nnzero import cli

HERE = Path(__file__).resolve().parents[1]

def nnzero(*args, status=0):
    "What a command prints on stdout, or on stderr if it is to fail; one line then, without a traceback"
    result = CliRunner().invoke(cli.app, [str(a) for a in args])
    assert result.exit_code == status, (result.output, result.exception)
    if not status: return result.stdout
    assert result.stderr.startswith('nnzero: ') and result.stderr.count('\n') == 1, result.stderr
    return result.stderr

def start(*args, **how):
    return subprocess.Popen([sys.executable, '-m', 'nnzero.cli', *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, encoding='utf-8', env=os.environ | {'PYTHONPATH': str(HERE)}, **how)
