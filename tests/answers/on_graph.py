"Right answers that look unlike the book's."

def parents(v): return [p for p in (v.a, v.b) if p is not None]

def heights(root):
    done, stack = {}, [root]
    while stack:
        v = stack[-1]
        todo = [p for p in parents(v) if id(p) not in done]
        if todo: stack += todo
        else: done[id(stack.pop())] = 1 + max((done[id(p)] for p in parents(v)), default=-1)
    return done

def graph_1(root): return heights(root)[id(root)]

def everything(root):
    found, stack = {}, [root]
    while stack:
        v = stack.pop()
        if id(v) in found: continue
        found[id(v)] = v
        stack += parents(v)
    return found

def graph_2(root):
    count = {}
    for v in everything(root).values():
        if v.op: count[v.op] = count.get(v.op, 0) + 1
    return count

def graph_3(root):
    height, way = heights(root), [root]
    while parents(way[0]): way.insert(0, max(parents(way[0]), key=lambda p: height[id(p)]))
    return way

def graph_4(root, inputs): return [v for v in inputs if id(v) not in everything(root)]
