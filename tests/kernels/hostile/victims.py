"""What a hostile cell would like to get at: real processes, listeners and files of ours, and what became of them."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kernels.gateway.conftest import with_credential
from kernels.gateway.servers import echo, http_server
from kernels.segments import Ran, code, segment

from runbooks_app.core.run import CellState
from runbooks_app.kernels.engine import Engine

HOST = "127.0.0.1"
CANARY = "nobody but the worker reads this"


@dataclass
class Listeners:
    """Sockets that nobody may reach; each is real and answers whoever gets through."""

    folder: Path
    sockets: dict[str, socket.socket] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.open("tcp", socket.AF_INET, socket.SOCK_STREAM, (HOST, 0))
        self.open("tcp6", socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0))
        self.open("udp", socket.AF_INET, socket.SOCK_DGRAM, (HOST, 0))
        self.open("unix", socket.AF_UNIX, socket.SOCK_STREAM, str(self.folder / "socket"))
        self.open("abstract", socket.AF_UNIX, socket.SOCK_STREAM, f"\0runbooks-hostile-{os.getpid()}")

    def open(self, name: str, family: int, kind: int, address: Any) -> None:
        made = self.sockets[name] = socket.socket(family, kind)
        made.bind(address)
        if kind == socket.SOCK_STREAM:
            made.listen()
        made.setblocking(False)

    def port(self, name: str) -> int:
        return self.sockets[name].getsockname()[1]

    def reached(self) -> list[str]:
        """Those that anybody got through to."""
        found = []
        for name, listening in self.sockets.items():
            try:
                listening.recv(1) if name == "udp" else listening.accept()
            except BlockingIOError:
                continue
            found.append(name)
        return found

    def close(self) -> None:
        for listening in self.sockets.values():
            listening.close()


@dataclass
class Sibling:
    """Another run on the same worker, with a gateway, that goes on until it is told that it may end."""

    engine: Engine
    port: int
    events: list[Any] = field(default_factory=list)
    pid: int = 0
    folder: Path = Path()
    gateway: int = 0

    def start(self) -> None:
        route = with_credential(self.port)
        look = (
            "import os, pathlib\nfrom runbook_library.kit import service\n"
            "pathlib.Path('mine').write_text('kept')\n"
            "url = service.state.connections['prometheus']['url']\n"
            "print(os.getpid(), os.getcwd(), url.rsplit(':')[-1], flush=True)"
        )
        wait = "import time\nwhile not pathlib.Path('go').exists(): time.sleep(0.02)\nprint(os.listdir('.'))"
        after = "from runbook_library import kit\nprint(kit.http('prometheus').get('/x').status_code)"
        cells = (code("look", look), code("wait", wait, timeout=120), code("after", after))
        whole = segment(
            *cells, timeout=150, connections={route.name: {"kind": "http"}}, routes={route.name: route}, run_id="run-2"
        )
        ready = threading.Event()

        def job() -> None:
            for event in self.engine.run(whole):
                self.events.append(event)
                if not self.pid and getattr(event, "output", {}).get("name") == "stdout":
                    pid, folder, port = event.output["text"].split()
                    self.pid, self.folder, self.gateway = int(pid), Path(folder), int(port)
                    ready.set()

        self.thread = threading.Thread(target=job)
        self.thread.start()
        assert ready.wait(30), self.events

    def finish(self) -> Ran:
        """Let it end."""
        (self.folder / "go").touch()
        self.thread.join(30)
        return Ran(self.events)

    def unharmed(self) -> None:
        ran = self.finish()
        assert ran.states == [CellState.OK] * 3, ran.ended
        assert ran.text("wait") == "['mine', 'go']\n" or ran.text("wait") == "['go', 'mine']\n"
        assert ran.text("after") == "200\n"


@dataclass
class Victims:
    """All of them."""

    engine: Engine
    folder: Path
    stack: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.files = self.folder / "files"
        (self.files / "inner").mkdir(parents=True)
        self.file = self.files / "secret"
        self.file.write_text(CANARY)
        (self.files / "inner" / "deep").write_text(CANARY)
        self.before = self.look()
        self.listeners = Listeners(self.folder)
        server = self.stack.enter_context(http_server(echo))
        self.sibling = Sibling(self.engine, server.port)
        self.sibling.start()
        zygote = self.engine._zygote
        assert zygote is not None
        self.warden = zygote.process.pid
        self.zygote = zygote.ready.result()
        self.runs = zygote.folder
        self.usual = self.processes()

    def processes(self) -> set[int]:
        """What hangs below the zygote, and so all that any kernel has started; the zygote's heir among them."""
        found, waiting = set[int](), [self.zygote]
        while waiting:
            pid = waiting.pop()
            with suppress(FileNotFoundError, ProcessLookupError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    children = [int(child) for child in (task / "children").read_text().split()]
                    found.update(children)
                    waiting += children
        return found

    def look(self) -> list[Any]:
        """What must stay as it is of our files."""
        found = []
        for path in sorted([self.files, *self.files.rglob("*")]):
            status = path.lstat()
            text = path.read_text() if path.is_file() else ""
            kept = (status.st_mode, status.st_uid, status.st_nlink, status.st_mtime_ns, os.listxattr(path))
            found.append((str(path), text, kept))
        return found

    def inputs(self) -> dict[str, dict[str, Any]]:
        """What hostile cells know of them: more than any real one would."""
        numbers = {
            "worker": os.getpid(),
            "warden": self.warden,
            "zygote": self.zygote,
            "sibling": self.sibling.pid,
            "gateway": self.sibling.gateway,
            "tcp": self.listeners.port("tcp"),
            "tcp6": self.listeners.port("tcp6"),
            "udp": self.listeners.port("udp"),
        }
        texts = {
            "secret": str(self.file),
            "files": str(self.files),
            "unix": str(self.folder / "socket"),
            "abstract": f"runbooks-hostile-{os.getpid()}",
            "sibling_folder": str(self.sibling.folder),
            "runs": str(self.runs),
        }
        return {name: {"type": "int", "value": value} for name, value in numbers.items()} | {
            name: {"type": "str", "value": value} for name, value in texts.items()
        }

    def unharmed(self) -> None:
        """Assert that nobody was."""
        for pid in (self.warden, self.zygote, self.sibling.pid):
            assert Path(f"/proc/{pid}").exists()
        self.sibling.unharmed()
        assert self.look() == self.before
        assert self.listeners.reached() == []
        assert os.getpriority(os.PRIO_PROCESS, 0) == self.priority
        # The engine goes on.
        assert Ran(list(self.engine.run(segment("print(1)")))).text() == "1\n"
        deadline = time.monotonic() + 5
        while list(self.runs.glob("segment-*")) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert list(self.runs.glob("segment-*")) == []

    priority: int = field(default_factory=lambda: os.getpriority(os.PRIO_PROCESS, 0))

    def close(self) -> None:
        if self.sibling.thread.is_alive():
            self.sibling.finish()
        self.listeners.close()
        self.stack.close()
