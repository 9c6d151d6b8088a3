"""What cells put out arrives whole, in order, up to its limit."""

from __future__ import annotations

import json
import threading

import nbformat
import pytest
from kernels.segments import Ran, code, segment
from nbformat.v4 import new_code_cell, new_notebook

from runbooks_app.core.run import CellState
from runbooks_app.kernels.events import CellEnded, CellUpdated, Printed
from runbooks_app.kernels.outputs import Outputs
from runbooks_app.kernels.redaction import Redactor


def stream(text, name="stdout"):
    return {"msg_type": "stream", "content": {"name": name, "text": text}}


def shown(data, **content):
    return {"msg_type": "display_data", "content": {"data": data, "metadata": {}} | content}


def test_python_and_what_is_below_it_print_in_the_order_of_events(run):
    source = "import subprocess, os, sys\n" + "\n".join(
        f"print('python {n}'); subprocess.run(['echo', 'process {n}']); os.write(1, b'descriptor {n}\\n')\n"
        f"display({n}); sys.stdout.buffer.write(b'buffer {n}\\n');"
        for n in range(5)
    )
    ran = run(source)
    outputs = ran.ended["c0"].outputs
    text = "".join(o.get("text") or f"shown {o['data']['text/plain']}\n" for o in outputs)
    lines = text.splitlines()
    assert lines == [f"{what} {n}" for n in range(5) for what in ("python", "process", "descriptor", "shown", "buffer")]


@pytest.mark.parametrize(
    "source",
    [
        "print('hello')",
        "import sys; sys.stdout.write('hel'); sys.stdout.write('lo\\n')",
        "import os; os.write(1, b'hello\\n')",
        "import subprocess; subprocess.run('echo hello', shell=True)",
        "import threading; t = threading.Thread(target=print, args=('hello',)); t.start(); t.join()",
        "import multiprocessing as m; p = m.Process(target=print, args=('hello',)); p.start(); p.join()",
        "import os\npid = os.fork()\nif not pid:\n    print('hello'); os._exit(0)\nos.waitpid(pid, 0);",
        "!printf 'hello\\n'",
        "%%bash\necho hello",
        "import asyncio\nasync def f(): print('hello')\nawait f()",
    ],
)
def test_whoever_prints_is_heard(run, source):
    ran = run(source)
    assert ran.states == [CellState.OK]
    assert ran.text().replace("\r", "") == "hello\n"


def test_a_child_that_comes_back_out_of_a_cell_is_no_second_kernel(run):
    ran = run("import os\npid = os.fork()", "if pid: os.waitpid(pid, 0)\nprint('once')")
    assert ran.states == [CellState.OK, CellState.OK]
    assert ran.text("c1") == "once\n"


def test_a_thread_that_outlives_its_cell_prints_into_the_one_that_runs(run):
    ran = run(
        "import threading\ngo = threading.Event()\n"
        "t = threading.Thread(target=lambda: (go.wait(), print('late'))); t.start()",
        "go.set(); t.join()",
    )
    assert ran.text("c0") + ran.text("c1") == "late\n"
    assert ran.text("c1") == "late\n"


def test_output_is_seen_while_the_cell_runs_also_of_an_unfinished_line(engine):
    source = "import time\nprint('a line')\nprint('half', end='')\ntime.sleep(3)\nprint(' whole')"
    events = list(engine.run(segment(source)))
    printed = [event.output["text"] for event in events if isinstance(event, Printed)]
    assert "".join(printed) == "a line\nhalf whole\n"
    assert "half" in "".join(printed[:-1])
    assert isinstance(events[-2], CellEnded)


def test_rich_outputs_keep_their_forms(run):
    ran = run(
        "import pandas as pd\npd.DataFrame({'a': [1, 2]})",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.title('t')",
        "from IPython.display import Markdown\nMarkdown('# hi')",
    )
    frame, chart, text = (end.outputs for end in ran.ended.values())
    assert {"text/html", "text/plain"} <= set(frame[0]["data"])
    assert any("image/png" in o.get("data", {}) for o in chart)
    assert text[0]["data"]["text/markdown"] == "# hi"
    cells = [new_code_cell("", outputs=nbformat.from_dict(list(end.outputs))) for end in ran.ended.values()]
    nbformat.validate(new_notebook(cells=cells))


def test_kit_bundles_arrive(run):
    ran = run("from runbook_library import kit\nkit.finding('warning', 'slow', evidence={'p99': 1.5})")
    bundle = ran.ended["c0"].outputs[0]["data"]["application/vnd.runbook.finding+json"]
    assert (bundle["severity"], bundle["summary"]) == ("warning", "slow")


def test_a_display_is_updated_in_place(run):
    ran = run("h = display('one', display_id=True)\nprint('x')\nh.update('two')\nh.update('three')")
    assert [o.get("data", {}).get("text/plain") for o in ran.ended["c0"].outputs] == ["'three'", None]


def test_a_later_cell_updates_what_an_earlier_one_shows(run):
    ran = run("print('a')\nh = display('one', display_id=True)", "1", "h.update('two')\nprint('b')\nh.update('three')")
    updated = [event for event in ran.events if isinstance(event, CellUpdated)]
    assert {event.cell_id for event in updated} == {"c0"}
    assert [o.get("text") or o["data"]["text/plain"] for o in updated[-1].outputs] == ["a\n", "'three'"]
    assert ran.text("c2") == "b\n"
    assert len(ran.ended["c2"].outputs) == 1


def test_showing_a_display_again_updates_it_wherever_it_was_shown(run):
    ran = run("display('one', display_id='d')", "display('two', display_id='d')")
    (updated,) = [event for event in ran.events if isinstance(event, CellUpdated)]
    assert updated.outputs[0]["data"]["text/plain"] == "'two'"
    assert ran.ended["c1"].outputs[0]["data"]["text/plain"] == "'two'"


def test_an_update_of_a_display_that_nobody_knows_shows_nothing(run):
    ran = run("from IPython.display import update_display\nupdate_display('x', display_id='unheard of')")
    assert ran.ended["c0"].outputs == ()


def test_a_finding_does_not_change_and_one_made_by_an_update_is_read_where_it_is_made(run):
    kind = "application/vnd.runbook.finding+json"
    show = f"display({{'{kind}': {{'severity': 'info', 'summary': '%s'}}}}, raw=True, display_id='f'%s);"
    ran = run(show % ("one", ""), show % ("two", ", update=True"), "display('x', display_id='f', update=True);")
    assert not [event for event in ran.events if isinstance(event, CellUpdated)]
    told = [end.outputs[0]["data"][kind]["summary"] for end in ran.ended.values() if end.outputs]
    assert told == ["one", "two"]


def test_an_update_of_an_earlier_cell_holds_no_secret(run):
    ran = run(
        "h = display('one', display_id=True)",
        "h.update(s := 'correct-horse'); h.update(' '.join(s))",
        secrets=("correct-horse",),
    )
    updated = [event for event in ran.events if isinstance(event, CellUpdated)]
    assert [event.outputs[0]["data"]["text/plain"] for event in updated] == ["'[redacted]'"]


def test_an_update_cannot_make_an_ended_cell_large_without_measure(run):
    ran = run("h = display('one', display_id=True)", "h.update('x' * 50_000)", output=10_000)
    assert not [event for event in ran.events if isinstance(event, CellUpdated)]


def test_cleared_output_is_gone(run):
    ran = run("from IPython.display import clear_output\nprint('a')\nclear_output()\nprint('b')")
    assert ran.text() == "b\n"
    ran = run("from IPython.display import clear_output\nprint('a')\nclear_output(wait=True)")
    assert ran.text() == "a\n"
    ran = run("from IPython.display import clear_output\nprint('a')\nclear_output(wait=True)\nprint('b')")
    assert ran.text() == "b\n"
    assert [event.clears for event in ran.events if isinstance(event, Printed)][-1]


def test_text_beyond_the_limit_is_kept_whole_in_a_file_and_told(run):
    ran = run("for n in range(20000): print('x' * 99)", "print('on')", output=10_000, output_total=5_000_000)
    assert ran.states == [CellState.OK, CellState.OK]
    assert ran.text("c0") == ("x" * 99 + "\n") * 100
    told = "[runbooks] 10,000 bytes of text are here; the whole of it, 2,000,000 bytes, is kept beside them.\n"
    assert ran.text("c0", "stderr") == told
    rest = ran.ended["c0"].rest
    assert (rest.size, rest.lost) == (2_000_000, 0)
    assert rest.file.read() == (b"x" * 99 + b"\n") * 20_000
    assert ran.text("c1") == "on\n"
    assert ran.ended["c1"].rest is None
    assert sum(len(output["text"]) for output in ran.live) <= 10_200


def test_what_is_beyond_all_limits_is_counted(run):
    ran = run("print('x' * 299_999)", "print('y' * 9_999)\nprint('z')", output=10_000, output_total=200_000)
    rest = ran.ended["c0"].rest
    assert rest.size <= 200_000
    assert rest.size + rest.lost == 300_000
    assert rest.file.read() == b"x" * rest.size
    assert f"{rest.lost:,} bytes of text more were printed" in ran.text("c0", "stderr")
    assert "were printed and are not kept" in ran.text("c1", "stderr")


def test_a_line_of_five_megabytes_is_kept_whole(run):
    ran = run("print('y' * 5_000_000)", "print('on')", output=10_000, output_total=6_000_000)
    assert ran.text("c0") == "y" * 10_000
    assert ran.ended["c0"].rest.file.read() == b"y" * 5_000_000 + b"\n"
    assert ran.text("c1") == "on\n"


def test_the_file_has_both_streams_in_order(run):
    ran = run(
        "import sys, os\nfor n in range(2000):\n    print('o', n)\n    print('é', n, file=sys.stderr)\n"
        "    os.write(1, b'd\\n')",
        output=10_000,
    )
    expected = "".join(f"o {n}\né {n}\nd\n" for n in range(2000))
    assert ran.ended["c0"].rest.file.read().decode() == expected


def test_the_order_holds_when_who_prints_is_held_up_in_the_middle_of_a_line(run):
    source = """
import os, sys, time

class Slow(str):  # as a processor that others have meanwhile
    def endswith(self, *end):
        time.sleep(0.02 + n / 500)
        return super().endswith(*end)

for n in range(12):
    print("o", n)
    sys.stderr.write(f"é {n}")
    sys.stderr.write(Slow("\\n"))
    os.write(1, b"d\\n")
print("x" * 20_000)
"""
    ran = run(source, output=10_000)
    printed = ran.ended["c0"].rest.file.read().decode()
    assert printed.removesuffix("x" * 20_000 + "\n") == "".join(f"o {n}\né {n}\nd\n" for n in range(12))


def test_who_prints_while_a_subprocess_fills_the_pipe_loses_nothing(run):
    source = (
        "import subprocess\nflood = subprocess.Popen(['seq', '1000000', '1100000'])\n"
        "for n in range(30_000): print('o', n)\nflood.wait()"
    )
    ran = run(source, output=10_000, output_total=5_000_000)
    assert ran.ended["c0"].rest.file.read().decode().count("\n") == 100_001 + 30_000


def test_cleared_output_leaves_no_file(run):
    ran = run(
        "from IPython.display import clear_output\nprint('a' * 50_000)\nclear_output()\nprint('b')", output=10_000
    )
    assert ran.ended["c0"].rest is None
    assert ran.text("c0") == "b\n"
    assert ran.text("c0", "stderr") == ""


@pytest.mark.parametrize(
    "printing",
    ["for n in range(60_000): print(n)", "import subprocess; subprocess.run(['seq', '0', '59999'])"],
    ids=["Python", "a subprocess"],
)
@pytest.mark.parametrize("end", ["os._exit(1)", "os.kill(os.getpid(), 9)", "import ctypes; ctypes.string_at(1)"])
def test_of_a_flood_before_a_death_nothing_is_lost(run, printing, end):
    ran = run(f"import os\n{printing}\n{end}", output=10_000, output_total=5_000_000)
    assert ran.states == [CellState.DIED]
    lines = ran.ended["c0"].rest.file.read().decode().splitlines()
    assert lines[:60_000] == [str(n) for n in range(60_000)]
    assert all("ctypes" in end for _ in lines[60_000:])


def test_one_that_floods_does_not_hold_up_another(engine):
    """A cell of another kernel begins and ends while the flood goes on."""
    flood = threading.Event()
    ran = []

    def print_much():
        ran.extend(engine.run(segment("while True: print('x' * 999)", output=10_000, timeout=20), flood))

    thread = threading.Thread(target=print_much)
    thread.start()
    while not any(isinstance(event, Printed) for event in ran):
        threading.Event().wait(0.01)
    quick = Ran(list(engine.run(segment("print(1)", "print(2)"))))
    assert thread.is_alive()
    flood.set()
    thread.join()
    assert quick.states == [CellState.OK, CellState.OK]
    assert Ran(ran).states == [CellState.CANCELLED]


def test_a_flood_of_prints_does_not_drown_a_finding_or_an_error(run):
    ran = run(
        "for n in range(3000): print('x' * 99)\nfrom runbook_library import kit\nkit.finding('info', 'seen')\n1/0",
        output=10_000,
    )
    kinds = [o["output_type"] for o in ran.ended["c0"].outputs]
    assert kinds == ["stream", "display_data", "error", "stream"]


def test_an_error_with_a_huge_text_is_still_an_error(run):
    ran = run("raise ValueError('z' * 5_000_000)", "print('on')", output=10_000)
    assert ran.states == [CellState.FAILED, CellState.OK]
    assert ran.ended["c0"].outputs[0]["ename"] == "ValueError"
    assert "left out" in ran.text("c0", "stderr")
    assert len(json.dumps(ran.ended["c0"].outputs)) < 60_000


def test_numbers_that_json_lacks_and_text_that_no_database_takes_are_made_fit(run):
    ran = run(
        "display({'application/json': {'n': float('nan')}, 'text/plain': 'a\\ud800b\\x00'}, raw=True)\n"
        "print('\\udfff\\x00')"
    )
    assert ran.states == [CellState.OK]
    data = ran.ended["c0"].outputs[0]["data"]
    assert data == {"application/json": {"n": None}, "text/plain": "a?b␀"}
    json.dumps(ran.ended["c0"].outputs, allow_nan=False).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"null",
        b"[" * 5000,
        b"\xff\xff",
        b'{"msg_type": 1, "parent_header": {"msg_id": "x"}}',
        b'{"msg_type": "stream", "parent_header": {"msg_id": 1}, "content": {"a": 1}}',
        b'{"msg_type": "left_out", "parent_header": {"msg_id": 1}, "content": {}}',
        b'{"msg_type": "status", "parent_header": {"msg_id": 1}, "content": {"execution_state": "idle"}}',
        b'{"msg_type": "execute_reply", "parent_header": {"msg_id": []}, "content": {}}',
        b'{"msg_type": "display_data", "parent_header": {"msg_id": 1}, "content": {"data": {"a": '
        + b"[" * 900
        + b"]" * 900
        + b"}}}",
    ],
)
def test_forged_messages_break_nothing(run, body):
    frame = len(body).to_bytes(4, "big") + body
    ran = run(f"import os\nos.write(3, {frame!r});", "print('on')")
    assert ran.states == [CellState.OK, CellState.OK]
    assert ran.text("c1") == "on\n"


def test_a_forged_length_costs_its_own_run_alone(run):
    ran = run(code("forger", "import os\nos.write(3, bytes([255] * 4));", timeout=1.0), "print('on')")
    assert ran.states == [CellState.TIMED_OUT, CellState.NEVER_RAN]
    assert run("print('next')").text() == "next\n"


@pytest.mark.parametrize(
    "message",
    [
        {"msg_type": "stream", "content": {"name": "stdlog", "text": "x"}},
        {"msg_type": "stream", "content": {"name": "stdout", "text": 5}},
        {"msg_type": "display_data", "content": {"data": [], "metadata": {}}},
        {"msg_type": "unheard_of", "content": {}},
        {"msg_type": "stream"},
    ],
)
def test_a_message_of_no_known_shape_leaves_nothing(message):
    outputs = Outputs(Redactor([]), 1000)
    outputs.take(message)
    assert outputs.final() == ((), 0)


def test_the_limit_counts_displays_too():
    outputs = Outputs(Redactor([]), 200)
    for _ in range(3):
        outputs.take(shown({"text/plain": "x" * 50}))
    final, _ = outputs.final()
    assert [o["output_type"] for o in final] == ["display_data", "stream"]


def test_clearing_makes_room_again():
    outputs = Outputs(Redactor([]), 10)
    outputs.take(stream("1234567890"))
    outputs.take({"msg_type": "clear_output", "content": {"wait": True}})
    outputs.take(stream("abc"))
    assert outputs.final() == (({"output_type": "stream", "name": "stdout", "text": "abc"},), 0)
