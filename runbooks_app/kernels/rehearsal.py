"""What the zygote does before its first fork, so that no run waits for it: imports, a shell, a rehearsal."""

from __future__ import annotations

import builtins
import getpass
import importlib
import os
import sys
from typing import NoReturn

from runbooks_app.kernels import child
from runbooks_app.kernels.sharing import keep_to_the_run
from runbooks_app.kernels.warm import Warm

LIBRARIES = ("numpy", "pandas", "matplotlib.pyplot", "httpx", "psycopg")
"""Imported before the fork, so that no run waits for them."""

REHEARSAL = (
    "x = 1\nx",
    "print('a')",
    "import os, json, datetime",
    "1/0",
    "{'a': [1]}",
    "%who",
    "!true",
    # The first chart of a process looks fonts up: 140 ms that no run should wait for.
    "import io, matplotlib.figure\nf = matplotlib.figure.Figure()\nf.subplots().plot([1])\nf.savefig(io.BytesIO())",
)


def refuse_input(prompt: object = "", **_: object) -> NoReturn:
    """Stands for input()."""
    raise RuntimeError(f"input({prompt!r}) is not possible in a runbook: nobody is there to answer. Use a parameter.")


def refuse_breakpoint(*_: object, **__: object) -> NoReturn:
    """Stands for breakpoint()."""
    raise RuntimeError("breakpoint() is not possible in a runbook: nobody is there to debug it. Remove the call.")


def prepare(folder: str) -> child.Kernel:
    """In the zygote: everything that no run should wait for. Leaves one thread and no trace of the rehearsal."""
    # ipykernel would import debugpy where it is installed: threads, and a port to listen on.
    sys.modules["debugpy"] = None  # type: ignore[assignment]
    for name in LIBRARIES:
        importlib.import_module(name)
    keep_to_the_run()
    warm = Warm.imported(child.KIT)
    kernel = child.Kernel(folder, warm)
    builtins.input = refuse_input
    getpass.getpass = refuse_input  # type: ignore[assignment]
    sys.breakpointhook = refuse_breakpoint
    rehearse(kernel)
    return kernel


def rehearse(kernel: child.Kernel) -> None:
    """Run cells into nothing, so that kernels find code specialised and caches filled, and copy fewer pages."""
    usual = sys.stdout, sys.stderr, sys.displayhook
    nothing = os.open(os.devnull, os.O_WRONLY)
    kernel.attach(nothing, nothing, nothing, {})
    for _ in range(3):
        for code in REHEARSAL:
            kernel.execute({"code": code})
    kernel.shell.run_line_magic("matplotlib", "inline")
    kernel.execute({"code": "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"})
    sys.stdout, sys.stderr, sys.displayhook = usual
    os.close(nothing)
    kernel.shell.reset(new_session=True)  # type: ignore[no-untyped-call]
    for name in ("last_type", "last_value", "last_traceback", "last_exc"):
        if hasattr(sys, name):
            delattr(sys, name)
