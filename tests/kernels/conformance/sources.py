"""The conformance notebook: cells of every kind, by the name of what each one tries. They run in this order."""

from __future__ import annotations

CELLS: dict[str, str] = {
    "prints": "print('one'); print('two', 3, sep='-', end='!\\n')",
    "last value": "6 * 7",
    "last value that is None": "None",
    "trailing semicolon": "6 * 7;",
    "stdout and stderr": "import sys\nprint('out'); print('err', file=sys.stderr); print('out again')",
    "unfinished line": "print('half', end='')",
    "history": "print(_oh[2], Out[2], In[2]); print(_2)",
    "get_ipython": (
        "from ipykernel.zmqshell import ZMQInteractiveShell\n"
        "print(isinstance(get_ipython(), ZMQInteractiveShell), get_ipython().execution_count)"
    ),
    "several displays": "display(1, 'two', [3])",
    "markdown": "from IPython.display import *\ndisplay(Markdown('# Title'))",
    "HTML": "HTML('<b>bold</b>')",
    "JSON": "JSON({'a': [1, None, True]}, expanded=True)",
    "SVG": 'SVG(\'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"></svg>\')',
    "LaTeX": "Latex('$x^2$')",
    "math and JavaScript": "display(Math('x'), Javascript('1'))",
    "raw bundle with metadata": (
        "own = 'application/x-own+json'\n"
        "display({'text/plain': 'p', own: {'k': 1}}, raw=True, metadata={own: {'m': 2}})"
    ),
    "own representations": (
        "class Both:\n    def __repr__(self): return 'plain'\n    def _repr_html_(self): return '<i>rich</i>'\n"
        "    def _repr_mimebundle_(self, **_): return {'text/markdown': '*m*'}, {'text/markdown': {'k': 1}}\nBoth()"
    ),
    "pandas": "import pandas as pd\npd.DataFrame({'a': [1, 2], 'b': ['x', None]})",
    "pandas styled off": "print(pd.Series([1.5, 2.5], name='s'))",
    "numpy": "import numpy as np\nnp.arange(6).reshape(2, 3)",
    "inline figure": (
        "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.title('t')\nplt.show()"
    ),
    "figure as last value": "fig, ax = plt.subplots(); ax.plot([3, 1])",
    "display_id": "shown = display('first', display_id='d'); print('between')",
    "display updated in its cell": "h = display('a', display_id=True)\nprint('x')\nh.update('b')",
    "display updated by a later cell": "update_display('second', display_id='d')",
    "display shown again": "display('third', display_id='d');",
    "update of nothing": "update_display('lost', display_id='nobody')",
    "clear_output": "print('gone'); clear_output(); print('stays')",
    "clear_output waits": "print('replaced'); clear_output(wait=True); print('new')",
    "clear_output waits in vain": "print('kept'); clear_output(wait=True)",
    "thread": (
        "import threading\nt = threading.Thread(target=lambda: [print('in a thread', n) for n in range(3)])\n"
        "t.start(); t.join(); print('joined')"
    ),
    "subprocess captured": (
        "import subprocess\nprint(subprocess.run(['echo', 'hi'], capture_output=True, text=True).stdout)"
    ),
    "subprocess": "subprocess.run(['echo', 'from a process']);",
    "os.write": "import os\nos.write(1, b'by descriptor\\n');",
    "os.write to stderr": "os.write(2, b'by descriptor 2\\n');",
    "printed by C": "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.puts(b'from C'); libc.fflush(None);",
    "sys.stdout.buffer": "sys.stdout.buffer.write(b'bytes\\n'); sys.stdout.buffer.flush()",
    "multiprocessing": (
        "import multiprocessing\nprocess = multiprocessing.get_context('fork').Process(target=print, args=('child',))\n"
        "process.start(); process.join(); print(process.exitcode)"
    ),
    "pool": ("with multiprocessing.get_context('fork').Pool(2) as pool:\n    print(sum(pool.map(abs, [-1, -2, -3])))"),
    "await at top level": "import asyncio\nawait asyncio.sleep(0.01)\nprint('awaited')",
    "async for": (
        "async def numbers():\n    for n in range(3):\n        await asyncio.sleep(0)\n        yield n\n"
        "async for n in numbers():\n    print(n)"
    ),
    "tasks": "print(await asyncio.gather(*(asyncio.sleep(0.01, n) for n in range(3))))",
    "a running loop": "print(asyncio.get_running_loop().is_running())",
    "asyncio.run inside": "pause = asyncio.sleep(0)\ntry:\n    asyncio.run(pause)\nfinally:\n    pause.close()",
    "time": "%time sum(range(10))",
    "timeit": "%timeit -n 1 -r 1 pass",
    "cell timed": "%%time\nprint('timed')",
    "bash": "%%bash\necho out; echo err >&2; exit 0",
    "bash that fails": "%%bash\nexit 3",
    "captured": "%%capture kept\nprint('hidden'); display('hidden too')",
    "what was captured": "kept.show()",
    "who": "first_name, second_name = 1, 'two'\n%who str",
    "writefile": "%%writefile note.txt\nsome text",
    "cat": "!cat note.txt",
    "shell": "!echo shell; echo error >&2",
    "shell assigned": "lines = !printf 'a\\nb\\n'\nlines",
    "shell exit code": "!exit 4\nprint(_exit_code)",
    "unknown magic": "%no_such_magic",
    "pwd and env": "%env NOT_SET_BEFORE=1\nprint(os.environ['NOT_SET_BEFORE'])",
    "exception": "def f():\n    1 / 0\nf()",
    "chained exceptions": (
        "try:\n    {}['missing']\nexcept KeyError as error:\n    raise RuntimeError('chained') from error"
    ),
    "exception group": "raise ExceptionGroup('many', [ValueError('a'), TypeError('b')])",
    "syntax error": "print('not printed'\nx = = 1",
    "name error": "print('before'); undefined_name",
    "exception without readable text": (
        "class Odd(Exception):\n    def __str__(self): raise ValueError('no text')\nraise Odd()"
    ),
    "error in a representation": ("class Bad:\n    def __repr__(self): raise ValueError('no representation')\nBad()"),
    "error in display": "display(Bad()); print('after')",
    "error in a rich form alone": (
        "class Half:\n    def __repr__(self): return 'half'\n"
        "    def _repr_html_(self): raise ValueError('no html')\nHalf()"
    ),
    "sys.exit": "sys.exit(3)",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "assertion": "assert 1 == 2, 'they differ'",
    "exception in a thread": (
        "t = threading.Thread(target=lambda: 1 / 0, name='worker'); t.start(); t.join(); print('joined')"
    ),
    "warning": "import warnings\nwarnings.warn('careful')",
    "logging": "import logging\nlogging.warning('logged'); logging.info('not shown')",
    "progress": "for n in range(5): print(f'\\r{n}/4', end='', flush=True)\nprint()",
    "unicode": "print('naïve ☃ 🚒 日本語 \\u200b end'); '🚒'",
    "lone surrogate": "print('before'); print('\\udc80'.encode('utf-8', 'surrogatepass'))",
    "carriage returns and backspaces": "print('abc\\rX'); print('ab\\bc'); print('\\x1b[31mred\\x1b[0m')",
    "many prints": "for n in range(20_000): print(n)",
    "long line": "print('y' * 5_000_000)",
    "large value": "'z' * 200_000",
    "input": "input('name?')",
    "nothing": "# only a comment",
    "still alive": "print(first_name)",
    "exit": "exit()",
}
