"""`/connections`: the systems that runbooks reach, as whom, what binds approval there, and what their tests proved."""

from __future__ import annotations

from flask import Blueprint, render_template

from runbooks_app.actions import connections
from runbooks_app.core.connection_tests import Standing
from runbooks_app.core.people import Permission
from runbooks_app.store.database import reading
from runbooks_app.web.context import service
from runbooks_app.web.guards import guard

blueprint = Blueprint("connections", __name__)

TO_MEND = (Standing.WRITES, Standing.AWAY)
"""What somebody should see to: it is named above all others."""


@blueprint.get("/connections")
@guard(Permission.READ)
def show() -> str:
    """Show each connection, by name; what is wrong stands above, too."""
    with reading(service().engine) as tx:
        found = connections.seen(tx, service().connections)
    wrong = [seen for seen in found.values() if seen.standing in TO_MEND]
    return render_template(
        "connections.html",
        found=found,
        wrong=sorted(wrong, key=lambda seen: TO_MEND.index(seen.standing)),
        proved=sum(seen.standing is Standing.HOLDS for seen in found.values()),
    )
