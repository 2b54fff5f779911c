"Right answers that look unlike the book's."
import builtins, dis
from types import CodeType

def exercises_1(code):
    there, found = set(dir(builtins)), set()
    def walk(code):
        for step in dis.get_instructions(code):
            if step.opname in ('LOAD_NAME', 'LOAD_GLOBAL') and step.argval not in there: found.add(step.argval)
            if step.opname == 'STORE_NAME': there.add(step.argval)
            if isinstance(step.argval, CodeType): walk(step.argval)
    walk(compile(code, '', 'exec'))
    return found

def exercises_2(program, edited):
    def values(salt):
        now, seen = {}, []
        for i, (sets, uses) in enumerate(program):
            seen.append(hash((i, salt if i == edited else 0, *(now.get(name) for name in sorted(uses)))))
            now.update(dict.fromkeys(sets, seen[-1]))
        return seen
    return {i for i, (a, b) in enumerate(zip(values(0), values(1))) if a != b}

def exercises_3(first, second):
    once, first, second = [], list(first), list(second)
    while first and second and first[0] == second[0]:
        once.append(first.pop(0))
        second.pop(0)
    return once, first, second
