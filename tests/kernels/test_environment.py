"""What a kernel finds around it: nothing of the worker's, everything of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from kernels.segments import PASSWORD, Ran, code, segment

from runbooks_app.core.run import CellState
from runbooks_app.kernels.engine import Engine
from runbooks_app.kernels.values import real

LOOK = """
import os, json, pathlib, resource
me = pathlib.Path("/proc/self")
print(json.dumps({
    "environ": dict(os.environ),
    "exec_environ": (me / "environ").read_text(),
    "argv": (me / "cmdline").read_text(),
    "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd")),
    "cwd": os.getcwd(),
    "status": (me / "status").read_text(),
    "core": resource.getrlimit(resource.RLIMIT_CORE),
    "oom": (me / "oom_score_adj").read_text(),
}))
"""


@pytest.fixture
def engine_amid_secrets(monkeypatch, tmp_path):
    monkeypatch.setenv("RUNBOOKS_DATABASE_URL", f"postgresql://app:{PASSWORD}@db/app")
    monkeypatch.setenv("SLACK_TOKEN", PASSWORD)
    kept_open = (tmp_path / "secret").open("w+")
    engine = Engine.start(folder=tmp_path)
    yield engine
    engine.close()
    kept_open.close()
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_a_kernel_gets_a_clean_explicit_environment(engine_amid_secrets):
    connection = {"kind": "postgres", "host": "h", "port": 1, "database": "d", "user": "u", "password": PASSWORD}
    ran = Ran(list(engine_amid_secrets.run(segment(LOOK, connections={"orders-db": connection}))))
    assert ran.ended["c0"].redacted == 0
    found = json.loads(ran.text())
    assert set(found["environ"]) == {
        *("PATH", "HOME", "TMPDIR", "LANG", "TZ", "TERM", "PAGER", "GIT_PAGER", "MPLBACKEND"),
        *("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MALLOC_ARENA_MAX"),
    }
    for where in ("exec_environ", "argv"):
        assert "RUNBOOKS_" not in found[where]
        assert PASSWORD not in found[where]
    assert len(found["descriptors"]) <= 12
    assert found["cwd"].startswith(str(Path(found["environ"]["HOME"]).parent))
    assert not Path(found["cwd"]).exists()
    assert "NoNewPrivs:\t1" in found["status"]
    assert found["core"] == [1, 1]  # a byte: also to programs that the system would give a dump to, core(5)
    assert found["oom"].strip() == "1000"


def test_a_kernel_holds_no_descriptor_of_the_worker_or_of_another_kernel(run):
    ran = run(
        "import os\nfor fd in sorted(map(int, os.listdir('/proc/self/fd'))):\n"
        "    try: print(fd, os.readlink(f'/proc/self/fd/{fd}').split(':')[0])\n    except OSError: pass"
    )
    lines = [line.split() for line in ran.text().splitlines()]
    kinds = [kind for _, kind in lines]
    assert kinds[:6] == ["/dev/null", "pipe", "pipe", "socket", "pipe", "pipe"]
    assert kinds.count("socket") == 2  # the channel, and its copy for reading
    assert set(kinds[6:]) <= {"socket", "anon_inode"}


def test_the_run_folder_is_private_writable_and_gone_afterwards(run):
    ran = run(
        "import os, tempfile, pathlib\npathlib.Path('note').write_text('x')\n"
        "f = tempfile.NamedTemporaryFile(delete=False)\nprint(os.getcwd(), os.path.expanduser('~'), f.name)\n"
        "print(oct(os.stat('..').st_mode & 0o777))"
    )
    paths, mode = ran.text().splitlines()
    folder = Path(paths.split()[0]).parent
    assert mode == "0o700"
    assert all(Path(path).parts[: len(folder.parts)] == folder.parts for path in paths.split())
    assert not folder.exists()


def test_parameters_run_first_and_values_are_laid_over_their_defaults(run):
    ran = run(
        "print(service, since, limit, tags)",
        parameters=code("p", "service = 'orders'\nsince = None\nlimit = 5\ntags = []\nprint(service)"),
        values={
            "service": {"type": "str", "value": "billing'; import os #"},
            "since": {"type": "date", "value": "2026-11-22"},
            "tags": {"type": "list", "item": "str", "value": ["a", "b"]},
        },
        setup=(code("s", "greeting = service.upper()\nprint(greeting)"),),
    )
    assert ran.text("p") == "orders\n"
    assert ran.text("s") == "BILLING'; IMPORT OS #\n"
    assert ran.text("c0") == "billing'; import os # 2026-11-22 5 ['a', 'b']\n"


def test_inputs_are_assigned_after_setup_as_real_objects(run):
    ran = run(
        "print(type(pid), type(ratio), type(sure), started.isoformat(), type(started).__name__, days)",
        setup=(code("s", "pid = 'from setup'"),),
        inputs={
            "pid": {"type": "int", "value": 4711},
            "ratio": {"type": "float", "value": 1},
            "sure": {"type": "bool", "value": True},
            "started": {"type": "datetime", "value": "2026-11-22T03:12:00+00:00"},
            "days": {"type": "list", "item": "date", "value": ["2026-11-22"]},
        },
    )
    types = "<class 'int'> <class 'float'> <class 'bool'>"
    assert ran.text() == f"{types} 2026-11-22T03:12:00+00:00 datetime [datetime.date(2026, 11, 22)]\n"


@pytest.mark.parametrize(
    "typed",
    [
        {"type": "int", "value": True},
        {"type": "int", "value": 1.5},
        {"type": "str", "value": 1},
        {"type": "date", "value": "tomorrow"},
        {"type": "datetime", "value": 5},
        {"type": "list", "item": "int", "value": "12"},
        {"type": "list", "item": "int", "value": ["1"]},
        {"type": "object", "value": {}},
        {},
    ],
)
def test_a_value_that_is_not_of_its_type_is_refused(typed):
    with pytest.raises(ValueError, match=r"."):
        real(typed)


def test_the_kit_knows_stage_connections_and_kept_values(run):
    ran = run(
        "from runbook_library import kit\nfrom runbook_library.kit import service\n"
        "print(service.state.stage, kit.kept.baseline, sorted(service.state.connections))\n"
        "print(service.state.connections['orders-db']['user'])",
        stage="verify",
        kept={"baseline": 0.25},
        connections={"orders-db": {"kind": "postgres", "user": "orders_reader", "password": PASSWORD}},
    )
    assert ran.text() == "verify 0.25 ['orders-db']\norders_reader\n"


def test_a_connection_password_is_redacted_without_being_listed(run):
    ran = run(
        "from runbook_library.kit import service\nprint(service.state.connections['db']['password'])",
        connections={"db": {"kind": "postgres", "password": PASSWORD}},
    )
    assert ran.text() == "[redacted]\n"


def test_a_library_that_cannot_be_imported_is_told_and_no_cell_runs(tmp_path):
    package = tmp_path / "library" / "runbook_library" / "kit"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    service = package / "service.py"
    service.write_text("def configure(stage, connections, kept): pass")
    engine = Engine.start(roots=[tmp_path / "library"], folder=tmp_path)
    try:
        assert Ran(list(engine.run(segment("print(1)")))).states == [CellState.OK]
        # Changed on disk after the zygote began: what lies there now is what runs.
        service.write_text("def configure(stage, connections, kept): raise LookupError('no such stage')")
        ran = Ran(list(engine.run(segment("print(1)"))))
        assert ran.states == [CellState.NEVER_RAN]
        assert ran.reason == "The kernel could not take its connections: LookupError: no such stage"
    finally:
        engine.close()


def test_kernels_do_not_share_random_numbers(run):
    source = "import random, numpy, uuid\nprint(random.random(), numpy.random.random(), uuid.uuid4())"
    assert len({run(source).text() for _ in range(3)}) == 3
    first, second = (run(source).text().split() for _ in range(2))
    assert not set(first) & set(second)


@pytest.mark.parametrize("source", ["input('name?')", "breakpoint()", "exit()", "import getpass; getpass.getpass()"])
def test_what_asks_a_person_fails_at_once(run, source):
    ran = run(source)
    assert ran.states == [CellState.FAILED]
    assert "runbook" in ran.ended["c0"].reason
