"""What `runbooks doctor` says of those who are woken: schedules answer, and who they name is somebody here.

Nobody is paged for it: whether a routing key leads to the right people is seen in PagerDuty alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from runbooks_app.connections import Connection
from runbooks_app.core.errors import Misconfigured, Problem, RunbooksError
from runbooks_app.main.assemble import oncall as read
from runbooks_app.oncall import Group, OnCall
from runbooks_app.settings import Settings
from runbooks_app.store.database import connect, reading
from runbooks_app.store.schema import require_current
from runbooks_app.store.wakings import reachable
from runbooks_app.worker.waking_people import PAGERS

NOBODY = "nobody is named as on call: all who may decide are told at once"


def examine(settings: Settings, connections: Mapping[str, Connection]) -> tuple[str, tuple[str, ...]]:
    """What is well, and what should be known besides. Raises `Misconfigured` for schedules that cannot be read."""
    oncall = read(settings)
    remarks = [] if settings.slack_bot_token_file else ["without Slack nobody gets a direct message"]
    if not oncall.groups:
        return NOBODY, tuple(remarks)
    wanted = {group for one in connections.values() for group in one.floor.approvers}
    idle = sorted(oncall.groups.keys() - wanted)
    remarks += [f"[group.{name}] wakes nobody: no connection is approved by {name}" for name in idle]
    remarks += [f"{name} approves, and there is no [group.{name}]" for name in sorted(wanted - oncall.groups.keys())]
    named = _named(oncall)
    if missing := sorted(named - _known(settings)):
        remarks.append(f"no approver has signed in and linked a chat account by {', '.join(missing)}")
    groups = ", ".join(sorted(oncall.groups))
    people = "1 person is" if len(named) == 1 else f"{len(named)} people are"
    return f"{people} named for {groups}; pages are not tried", tuple(remarks)


def _named(oncall: OnCall) -> frozenset[str]:
    """Everybody whom rotas name, and whom schedules have on call just now."""
    found: set[str] = set()
    problems = []
    for group in oncall.groups.values():
        found |= set(group.rota.people) if group.rota else set()
        try:
            found |= _on_call(oncall, group)
        except RunbooksError as error:
            problems.append(Problem(f"[group.{group.name}] schedule", error.message))
    if problems:
        raise Misconfigured("Who is on call cannot be read.", problems=tuple(problems))
    return frozenset(found)


def _on_call(oncall: OnCall, group: Group) -> frozenset[str]:
    if not group.schedule:
        return frozenset()
    service = oncall.services[group.schedule]
    return PAGERS[service.kind](service).who(group.schedule_id)


def _known(settings: Settings) -> frozenset[str]:
    """Addresses of those who can be woken by the chat."""
    engine = connect(settings.database_url, settings.secret("database_password_file"), pool_size=1)
    try:
        with reading(engine) as tx:
            require_current(tx)
            return frozenset(person.email.casefold() for person in reachable(tx, settings.slack_team))
    finally:
        engine.dispose()
