"""Names that cells bind and need, checked against what Python does with them."""

from __future__ import annotations

import builtins

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from runbooks_app.core.errors import BrokenRunbook
from runbooks_app.core.names import analyse


@pytest.mark.parametrize(
    ("source", "defines", "needs"),
    [
        ("x = 1", "x", ""),
        ("x = x + 1", "x", "x"),
        ("x += 1", "x", "x"),
        ("a.b += c", "", "a c"),
        ("a.b = c[d]", "", "a c d"),
        ("x: int = y", "x", "y"),
        ("pid: int", "", ""),
        ("pid: Kind", "", "Kind"),
        ("a.b: int", "", "a"),
        ("x, (y, *z) = w", "x y z", "w"),
        ("print(len(x), display(get_ipython()), _, In, Out, _1, __)", "", "x"),
        ("_ = 1", "", ""),
        ("import os.path, numpy as np\nfrom json import loads, dumps as d", "os np loads d", ""),
        ("from . import here", "here", ""),
        ("del x", "", "x"),
        ("x = 1\ndel x", "", ""),
        ("x = 1\ndel x\nprint(x)", "", "x"),
        ("if a:\n    x = 1\nelse:\n    y = x\nprint(x, y)", "x y", "a x"),
        ("if a:\n    x = 1\nprint(x)", "x", "a"),
        ("while a:\n    a = b\n    b = 1\nelse:\n    c = a", "a b c", "a b"),
        ("for i, j in rows:\n    total += i\nelse:\n    k = j", "i j k total", "rows total"),
        ("async def f():\n    async for i in rows: pass\n    async with x as y: pass", "f", "rows x"),
        ("async for i in rows: pass", "i", "rows"),
        ("await x", "", "x"),
        ("with open(p) as f, g(f) as h:\n    x = h", "f h x", "p g"),
        ("try:\n    x = f()\nexcept Wrong as e:\n    x = e\nelse:\n    y = x\nfinally:\n    z = y", "x y z", "f Wrong"),
        ("try:\n    import a\nexcept ImportError:\n    a = None\nprint(a)", "a", ""),
        ("e = 1\ntry:\n    f()\nexcept Exception as e:\n    pass\nprint(e)", "e", "f"),
        ("try:\n    f()\nexcept:\n    raise\nprint(1)", "", "f"),
        ("try:\n    f()\nexcept* OSError as g:\n    g", "", "f"),
        ("try:\n    f()\nexcept OSError as e:\n    pass\nprint(e)", "", "f e"),
        ("print(y := x)\nprint(y)", "y", "x"),
        ("[z := i for i in rows if i > low]", "z", "rows low"),
        ("{k: v for k, v in pairs for w in k}", "", "pairs"),
        ("[i for i in i]", "", "i"),
        ("[j for i in rows for j in i.parts]", "", "rows"),
        ("{i for i in rows}, sum(i * n for i in rows)", "", "rows n"),
        ("ys = [x for _ in range(3)]\nx = 1", "ys x", "x"),
        ("def f(a, b=c, *args: T, d=e, **kw) -> R:\n    return a + g + d", "f", "c T e R g"),
        ("@deco\ndef f(): return later\nlater = 1", "f later", "deco"),
        ("def f():\n    global made\n    made = 1\n    return made", "f made", ""),
        ("def f():\n    x = 1\n    def g():\n        nonlocal x\n        x = y\n    return g", "f", "y"),
        ("f = lambda a, b=c: a + d", "f", "c d"),
        ("f = lambda *, a=b: a", "f", "b"),
        ("f = lambda: later\nlater = 1", "f later", ""),
        ("rows.map(lambda a, *b, k=c, **d: (a, b, k, d, later))\nlater = 1", "later", "rows c later"),
        ("go(lambda: [y := x, y, [z := w for w in y]])\ny", "", "go x y"),
        ("x = 1\ndel x\ndef f(): return x", "f", ""),
        (
            "@deco\nclass A(Base, metaclass=Meta):\n    y = q\n    z = y\n    def m(self): return w + A",
            "A",
            "deco Base Meta q w",
        ),
        ("class A:\n    x = 1\n    del x\n    y = x", "A", "x"),
        ("class A:\n    try:\n        f()\n    except OSError as e:\n        pass", "A", "f"),
        ("f'{x!r:>{width}}'", "", "x width"),
        (
            "match m:\n    case {'a': A(b=B), **rest}: pass\n    case [first, *others] if guard: pass",
            "B rest first others",
            "m A guard",
        ),
        ("match m:\n    case {'k': _}: pass\n    case [1, *_]: pass\n    case other: pass", "other", "m"),
        ("match m:\n    case (1 | 2) as n: x = n\n    case _: y = 1\nprint(x, y)", "n x y", "m"),
        ("get_ipython().run_line_magic('matplotlib', 'inline')", "", ""),
        ("", "", ""),
        (r"x = '\d'", "x", ""),
    ],
)
def test_a_cell_defines_and_needs_what_python_says(source, defines, needs):
    found = analyse(source)
    assert found.defines == set(defines.split())
    assert found.needs == set(needs.split())


@pytest.mark.parametrize("source", ["from os import *", "from . import *"])
def test_a_star_import_is_refused_since_it_hides_names(source):
    with pytest.raises(BrokenRunbook, match=r"import \*' hides which names"):
        analyse(source, "cell c1")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("x = = 1", "cell c1, line 1: invalid syntax."),
        ("x = 1\nreturn x", "cell c1, line 2: 'return' outside function."),
        ("x = '\0'", "cell c1"),
        ("(" * 500 + ")" * 500, "cell c1"),
        ("-" * 200_000 + "1", "cell c1"),
    ],
)
def test_what_is_no_python_names_the_line(source, told):
    with pytest.raises(BrokenRunbook) as caught:
        analyse(source, "cell c1")
    assert told in str(caught.value)


NAMES = ["a", "b", "c", "d"]
name = st.sampled_from(NAMES)
read = st.one_of(
    name,
    name.map(lambda n: f"[{n} for _ in (1,)][0]"),
    name.map(lambda n: f"(lambda: {n})()"),
    st.tuples(name, name).map(lambda t: f"[{t[0]} for {t[0]} in ({t[1]},)][0]"),
    st.tuples(name, name).map(lambda t: f"({t[0]} := {t[1]})"),
    st.tuples(name, name).map(lambda t: f"({t[0]}, {t[1]})[0]"),
)
statement = st.one_of(
    st.tuples(name, read).map(lambda t: f"{t[0]} = {t[1]}"),
    name.map(lambda n: f"{n} = 1"),
    name.map(lambda n: f"{n} += 1"),
    name.map(lambda n: f"del {n}"),
    name.map(lambda n: f"import math as {n}; {n} = 1"),
    st.tuples(name, read).map(lambda t: f"for {t[0]} in ({t[1]},): pass"),
    st.tuples(name, read).map(lambda t: f"try:\n    raise ValueError({t[1]})\nexcept ValueError as {t[0]}:\n    pass"),
    st.tuples(name, name, read).map(lambda t: f"class {t[0]}:\n    {t[1]} = {t[2]}\n{t[0]} = 1"),
    st.tuples(name, read).map(lambda t: f"match {t[1]}:\n    case {t[0]}: pass"),
)


def run(source, given):
    """Names bound after running the program with these bound before; None where a name was missing."""
    scope = {"__builtins__": builtins, **dict.fromkeys(given, 1)}
    try:
        exec(compile(source, "program", "exec"), scope)  # noqa: S102 - generated from the strategies above
    except NameError:
        return None
    return {name for name in scope if name in NAMES}


@given(st.lists(statement, max_size=8).map("\n".join))
def test_straight_programs_run_with_exactly_what_they_need(program):
    found = analyse(program)
    assume(run(program, NAMES) is not None)  # it may read what it has just deleted
    left = run(program, found.needs)
    assert left is not None
    assert left - found.needs <= found.defines
    assert found.defines <= left or "except" in program  # a handler, which unbinds its name, may not have run
    for needed in found.needs:
        assert run(program, set(NAMES) - {needed}) is None


@given(st.lists(statement, max_size=5).map("\n".join), st.lists(statement, min_size=1, max_size=3).map("\n".join), name)
def test_whatever_branch_is_taken_no_other_name_is_needed(before, branch, switch):
    body = "\n".join(f"    {line}" for line in branch.splitlines())
    program = f"{before}\nif {switch}:\n{body}"
    assume(run(program, NAMES) is not None)
    assert run(program, analyse(program).needs) is not None
