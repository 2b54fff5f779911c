"Right answers that look unlike the book's."
import os, re, tempfile
from pathlib import PurePosixPath

def site_1(text):
    shown = re.sub(r'<!--.*?-->', '', text, flags=re.S)
    tags = re.findall(r'<img\b((?:"[^"]*"|[^>"])*)>', shown, re.I)
    return sum(not re.search(r'\balt\b', re.sub(r'"[^"]*"', '', tag), re.I) for tag in tags)

def site_2(here, there):
    folder, target, ups = PurePosixPath(here).parent, PurePosixPath(there), 0
    while not target.is_relative_to(folder): folder, ups = folder.parent, ups + 1
    return str(PurePosixPath(*['..']*ups, target.relative_to(folder)))

def site_3(path, parts):
    text = ''.join(parts)
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, 'w') as file: file.write(text)
    os.replace(name, path)
