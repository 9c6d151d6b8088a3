"""A channel and those who tell in it: real rows, a real server; time passes by moving the rows' times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runbooks_app.actions.telling import tell
from runbooks_app.chat.client import Slack
from runbooks_app.chat.messages import run_message
from runbooks_app.chat.views import FindingTold, RunTold, Told
from runbooks_app.core.run import RunState
from runbooks_app.main.demo.slack.workspace import Fault, Standing, Workspace
from runbooks_app.store.database import reading, transaction
from runbooks_app.worker.conversation import tell_next

if TYPE_CHECKING:
    from worker.conftest import House

TOKEN = "xoxb-a-token-that-no-log-may-hold"


@dataclass
class Room:
    """A channel, those who tell in it, and what they are to tell: tests change `parts` as the world changes."""

    house: House
    workspace: Workspace
    slack: Slack
    parts: tuple[Told, ...] = ()

    def want(self, about: str = "run:r1", channel: str = "C0INCIDENTS", *, progress: bool = False) -> None:
        """Something has changed."""
        with transaction(self.house.service.engine) as tx:
            tell(tx, about, channel=channel, progress=progress)

    def tell(self) -> int:
        """Tell all that is due, as one job does; how many conversations were taken."""
        count = 0
        while tell_next(self.house.worker, self.slack, lambda _tx, _service, _about: self.parts):
            count += 1
            assert count < 50
        return count

    def tell_all(self, seconds: int = 100) -> None:
        """Tell, and let a second pass, until nothing is due for so long."""
        for _ in range(seconds):
            self.pass_time(1)
            self.tell()
            if not self.rows("SELECT 1 FROM chat_threads WHERE wanted > told AND ended_at IS NULL"):
                return
        raise AssertionError(self.rows("SELECT * FROM chat_threads"))

    def pass_time(self, seconds: float) -> None:
        """Let so many seconds pass for all that waits."""
        with transaction(self.house.service.engine) as tx:
            by = "- make_interval(secs => :s)"
            tx.execute(
                f"""UPDATE chat_threads SET due_at = due_at {by}, held_until = held_until {by},
                    shown_at = shown_at {by}, turn_at = turn_at {by}, made_at = made_at {by}""",
                s=seconds,
            )
            tx.execute(f"UPDATE chat_channels SET next_at = next_at {by}", s=seconds)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        with reading(self.house.service.engine) as tx:
            return [dict(row._mapping) for row in tx.execute(sql)]

    def thread(self) -> dict[str, Any]:
        (row,) = self.rows("SELECT * FROM chat_threads WHERE about = 'run:r1'")
        return row

    def standing(self, channel: str = "C0INCIDENTS") -> list[Standing]:
        return self.workspace.seen(channel)

    def texts(self, channel: str = "C0INCIDENTS") -> list[str]:
        return [message.text for message in self.standing(channel)]

    def fails(self, method: str, kind: str, *, times: int = 1, **more: Any) -> None:
        self.workspace.faults += [Fault(method, kind, **more)] * times


def said(summary: str) -> Any:
    return run_message(
        RunTold(
            "r1",
            "look",
            "https://r.example/runs/r1",
            RunState.DIAGNOSED,
            "Ana",
            findings=(FindingTold("info", summary),),
        )
    )


def parts(*summaries: str) -> tuple[Told, ...]:
    return tuple(Told(f"run:r1:{n}", said(summary)) for n, summary in enumerate(summaries))


def dies(*_, **__):
    raise SystemExit
