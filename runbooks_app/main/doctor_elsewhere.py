"""What doctor finds of other chats and mail: that their addresses can be read, and which of them take nothing just now.

Nothing is sent to try them: people would read it.
"""

from __future__ import annotations

from runbooks_app.chat.elsewhere import read_places
from runbooks_app.chat.mrkdwn import count
from runbooks_app.core.errors import Misconfigured, Problem
from runbooks_app.settings import Settings
from runbooks_app.store import elsewhere
from runbooks_app.store.database import connect, reading
from runbooks_app.store.schema import require_current


def examine(settings: Settings) -> str:
    """How many places there are; raises `Misconfigured` for addresses that cannot be read or take nothing."""
    places = read_places(settings.secret("notify_urls_file"))
    if not places:
        return "none is named"
    engine = connect(settings.database_url, settings.secret("database_password_file"), pool_size=1)
    try:
        with reading(engine) as tx:
            require_current(tx)
            troubled = elsewhere.troubled(tx)
    finally:
        engine.dispose()
    problems = tuple(
        Problem(place.name, f"took nothing, {count(tries, 'time')} in a row ({trouble}).", "Mend its address.")
        for place in places
        for tries, trouble in (troubled.get(place.key, (0, "")),)
        if tries
    )
    if problems:
        raise Misconfigured("Other chats are not told.", problems=problems)
    return ", ".join(place.name for place in places)
