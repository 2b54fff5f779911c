"Right answers that look unlike the book's."
import io, os, tokenize

def book_1(a, b):
    def tokens(code):
        found = tokenize.generate_tokens(io.StringIO(code).readline)
        bare = tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT
        return [(t.type, '' if t.type in bare else t.string) for t in found
                if t.type not in (tokenize.COMMENT, tokenize.NL)]
    return tokens(a) == tokens(b)

def book_2(imports, changed):
    old, before = {changed}, set()
    while old != before:
        before = set(old)
        for name in imports:
            if old & set(imports[name]): old.add(name)
    return old

def book_3(path, lines):
    part = path.with_suffix('.part')
    try:
        with part.open('w') as file:
            for line in lines: file.write(line)
    except BaseException:
        part.unlink()
        raise
    os.replace(part, path)
