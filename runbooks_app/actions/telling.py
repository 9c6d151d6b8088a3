"""Telling the chat: a change says of what it wants people told, and a worker does it a moment later.

What there is to say is read when it is said (`worker.telling.TELLERS`), so nothing here composes. A conversation is
`about` one thing and stands in any number of channels:

    run:<id>        a run: its one message, and in its thread proposals, evidence, charts
    incident:<id>   an incident
    storm:<id>      alerts that are held back
    waking:<id>     one approver's direct message
"""

from __future__ import annotations

from runbooks_app.store.database import Transaction

KINDS = frozenset({"run", "incident", "storm", "waking"})


def tell(tx: Transaction, about: str, *, channel: str = "", progress: bool = False) -> None:
    """Have all channels told of this brought up to date, and from now on `channel` too: a channel, or a person's id.

    `progress`: it went on a little and nothing else; that is told when somebody would look, and not each time.
    """
    if about.partition(":")[0] not in KINDS:
        raise ValueError(about)
    tx.tell(about, channel, progress=progress)
