"Right answers that look unlike the book's."
import subprocess, sys

def cli_1(code, module):
    script = f'{code}\nimport os, sys\nos._exit(7 if {module!r} in sys.modules else 0)'
    return subprocess.call([sys.executable, '-c', script]) == 7

def cli_2(text, known):
    flags = set()
    for part in map(str.strip, text.split(',')):
        if part and part not in known: raise ValueError(part)
        flags |= {part} if part else set()
    return flags

def cli_3(status):
    if status == 0: return 'fine'
    if status == 2: return 'request'
    return 'stopped' if status in (130, -2) else 'failed'
