"""Telling the chat: a change says of what it wants people told, and a worker does it a moment later.

What there is to say is read when it is said (`worker.telling.TELLERS`), so nothing here composes. A conversation is
`about` one thing and stands in any number of channels:

    run:<id>        a run: its one message, and in its thread proposals, evidence, charts
    incident:<id>   an incident
    postmortem:<id> its postmortem, where somebody wanted it
    storm:<id>      alerts that are held back
    waking:<id>     one approver's direct message
"""

from __future__ import annotations

from runbooks_app.actions.context import Service, worker_actor
from runbooks_app.core.audit import Event
from runbooks_app.store import chat
from runbooks_app.store.database import Transaction

KINDS = frozenset({"run", "incident", "postmortem", "storm", "waking"})


def tell(tx: Transaction, about: str, *, channel: str = "", progress: bool = False) -> None:
    """Have all channels told of this brought up to date, and from now on `channel` too: a channel, or a person's id.

    `progress`: it went on a little and nothing else; that is told when somebody would look, and not each time.
    """
    if about.partition(":")[0] not in KINDS:
        raise ValueError(about)
    tx.tell(about, channel, progress=progress)


def untold(tx: Transaction, service: Service, worker: str, thread: chat.Thread, why: str) -> str:
    """It can never be told in this channel: end it there, and have it told to somebody else; to whom, if anybody.

    That is whoever asked for it, in a direct message, else the channel of the settings. A direct message that wakes
    somebody has nobody in its place: what is not decided wakes others.
    """
    chat.give_up(tx, thread, why)
    kind, _, name = thread.about.partition(":")
    known = chat.told_in(tx, thread.about)
    people = chat.people_behind(tx, thread.about, service.settings.slack_team)
    others = [] if kind == "waking" else [*people, service.settings.slack_channel]
    instead = next((other for other in others if other and other not in known), "")
    if instead:
        tell(tx, thread.about, channel=instead)
    tx.audit(
        worker_actor(worker),
        Event.CHAT_UNTOLD,
        {kind: int(name) if kind in {"incident", "storm"} else name},
        {"channel": thread.channel, "why": why, "instead": instead},
    )
    return instead
