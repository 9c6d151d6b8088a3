"""Each cell is told as what it was."""

from __future__ import annotations

import threading
import time

import pytest
from kernels.segments import Ran, code, segment

from runbooks_app.core.errors import InvalidInput
from runbooks_app.core.run import CellState
from runbooks_app.kernels.events import CellEnded, CellStarted, SegmentEnded

OK, FAILED, DIED = CellState.OK, CellState.FAILED, CellState.DIED
TIMED_OUT, CANCELLED = CellState.TIMED_OUT, CellState.CANCELLED
SKIPPED, NEVER_RAN = CellState.SKIPPED, CellState.NEVER_RAN


def test_cells_run_in_order_in_one_kernel(run):
    ran = run("x = 20", "print(x + 1)", "x + 2")
    assert ran.states == [OK, OK, OK]
    assert ran.text("c1") == "21\n"
    assert ran.ended["c2"].outputs[0]["data"] == {"text/plain": "22"}
    assert [end.execution_count for end in ran.ended.values()] == [1, 2, 3]
    assert ran.reason == ""
    assert all(end.started_at <= end.ended_at for end in ran.ended.values())


def test_an_empty_cell_is_ok(run):
    assert run("", "  \n", "# nothing").states == [OK, OK, OK]


def test_a_failing_diagnostic_cell_does_not_stop_the_others(run):
    ran = run("1/0", "print('on')")
    assert ran.states == [FAILED, OK]
    assert ran.ended["c0"].reason == "ZeroDivisionError: division by zero"
    error = ran.ended["c0"].outputs[0]
    assert (error["output_type"], error["ename"]) == ("error", "ZeroDivisionError")
    assert "\x1b" not in "".join(error["traceback"])


@pytest.mark.parametrize("source", ["def", "  x", "raise SystemExit(3)", "raise KeyboardInterrupt", "%nonsense"])
def test_whatever_is_raised_is_a_failure(run, source):
    ran = run(source, "print('on')")
    assert ran.states == [FAILED, OK]
    assert ran.ended["c0"].reason


def test_a_value_that_cannot_be_displayed_is_a_failure(run):
    ran = run("class A:\n    def __repr__(self): raise ValueError('no')\nA()")
    assert ran.states == [FAILED]


def test_cells_that_need_a_name_that_failed_to_be_defined_are_skipped_by_name(run):
    ran = run(
        code("a", "1/0", defines="frame"),
        code("b", "total = len(frame)", needs="frame", defines="total"),
        code("c", "print(total)", needs="total"),
        code("d", "print('on')", needs="other"),
        code("e", "frame = [1]", defines="frame"),
        code("f", "print(len(frame))", needs="frame"),
    )
    assert ran.states == [FAILED, SKIPPED, SKIPPED, OK, OK, OK]
    assert "frame (cell a)" in ran.ended["b"].reason
    assert "total (cell b)" in ran.ended["c"].reason


def test_after_a_failed_setup_nothing_runs(run):
    ran = run("print(1)", parameters=code("p", "n = 1"), setup=(code("s1", "1/0"), code("s2", "pass")))
    assert ran.states == [OK, FAILED, NEVER_RAN, NEVER_RAN]
    assert "Cell s1 failed" in ran.reason
    assert ran.ended["c0"].reason == ran.reason
    assert ran.ended["c0"].started_at is None


def test_a_remediation_ends_with_its_first_failure(run):
    ran = run("1/0", "print(1)", stage="remediate")
    assert ran.states == [FAILED, NEVER_RAN]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("import ctypes; ctypes.string_at(1)", "SIGSEGV"),
        ("import os; os._exit(3)", "exit code 3"),
        ("import os; os._exit(0)", "exit code 0"),
    ],
)
def test_a_kernel_that_dies_is_told_with_its_cause(run, source, told):
    ran = run("print('before')", f"print('last words')\n{source}", "print('after')")
    assert ran.states == [OK, DIED, NEVER_RAN]
    assert told in ran.ended["c1"].reason
    assert "last words" in ran.text("c1")
    assert "c1" in ran.reason


def test_a_crash_below_python_names_the_line(run):
    ran = run("import ctypes\nctypes.string_at(1)")
    assert "line 2 in <module>" in ran.text("c0", "stderr")


def test_a_cell_that_takes_too_long_is_interrupted_and_the_others_go_on(run):
    ran = run(code("slow", "import time; time.sleep(30)", timeout=0.2, defines="x"), code("b", "1", needs="x"), "2")
    assert ran.states == [TIMED_OUT, SKIPPED, OK]
    assert ran.ended["slow"].reason == "The cell's limit of 0.2 s was reached."


def test_a_subprocess_is_interrupted_with_its_cell(run):
    ran = run(code("slow", "import subprocess; subprocess.run(['sleep', '30'])", timeout=0.2), "2")
    assert ran.states == [TIMED_OUT, OK]


def test_an_awaiting_cell_is_interrupted_and_does_not_go_on_under_later_cells(run):
    tick = "async def tick():\n    while True:\n        print('tick'); await asyncio.sleep(0.05)\n"
    source = f"import asyncio\n{tick}await tick()"
    ran = run(code("slow", source, timeout=0.3), "import asyncio\nawait asyncio.sleep(0.2)")
    assert ran.states == [TIMED_OUT, OK]
    assert ran.text("c1") == ""


def test_a_cell_that_swallows_the_interrupt_is_killed_with_its_kernel(run):
    source = "import time\nwhile True:\n    try:\n        time.sleep(30)\n    except BaseException: print('no')"
    ran = run(code("stubborn", source, timeout=0.3), "print(1)")
    assert ran.states == [TIMED_OUT, NEVER_RAN]
    assert "its kernel was killed" in ran.ended["stubborn"].reason
    assert ran.text("stubborn") == "no\n"


def test_a_cell_that_finishes_after_the_interrupt_was_still_too_late(run):
    source = "import time\ntry:\n    time.sleep(30)\nexcept KeyboardInterrupt: print('tidied')"
    ran = run(code("late", source, timeout=0.2), "print(1)")
    assert ran.states == [TIMED_OUT, OK]
    assert ran.text("late") == "tidied\n"


def test_the_segment_has_a_limit_of_its_own(run):
    ran = run("import time; time.sleep(30)", "print(1)", timeout=0.4)
    assert ran.states == [TIMED_OUT, NEVER_RAN]
    assert ran.reason == "The run's limit of 0.4 s was reached."


def test_a_cancelled_run_ends_its_cell_and_runs_no_other(engine):
    cancelled, events = threading.Event(), []
    for event in engine.run(segment("print(0)", "import time; time.sleep(30)", "print(1)"), cancelled):
        events.append(event)
        if isinstance(event, CellStarted) and event.cell_id == "c1":
            cancelled.set()
    ran = Ran(events)
    assert ran.states == [OK, CANCELLED, NEVER_RAN]
    assert ran.reason == "The run was cancelled."


def test_a_run_cancelled_before_it_begins_runs_nothing(engine):
    cancelled = threading.Event()
    cancelled.set()
    ran = Ran(list(engine.run(segment("print(0)", "print(1)"), cancelled)))
    assert ran.states in ([CANCELLED, NEVER_RAN], [OK, CANCELLED])
    assert ran.reason == "The run was cancelled."


def test_leaving_the_iterator_ends_the_kernel(engine):
    events = engine.run(segment("import time; time.sleep(30)"))
    assert isinstance(next(events), CellStarted)
    began = time.monotonic()
    events.close()
    assert time.monotonic() - began < 5
    assert not engine._zygote.kernels


def test_twenty_segments_from_twenty_threads_keep_apart(engine):
    ends = {}

    def job(number):
        cells = (f"mine = {number}", "import time; time.sleep(0.05)", "print(mine)")
        ends[number] = Ran(list(engine.run(segment(*cells, run_id=f"run-{number}"))))

    threads = [threading.Thread(target=job, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {number: ran.text("c2") for number, ran in ends.items()} == {n: f"{n}\n" for n in range(20)}
    assert {state for ran in ends.values() for state in ran.states} == {OK}


def test_events_come_as_they_happen(engine):
    kinds = [type(event) for event in engine.run(segment("x = 1"))]
    assert kinds == [CellStarted, CellEnded, SegmentEnded]


def test_a_malformed_segment_is_refused_with_every_problem(run):
    with pytest.raises(InvalidInput) as caught:
        run(stage="repair", values={"a b": {"type": "int", "value": 1}}, inputs={"n": {"type": "int", "value": "1"}})
    assert [problem.where for problem in caught.value.problems] == ["stage", "values", "inputs"]
