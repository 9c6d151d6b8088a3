"""Redis: what cells print while they print it. Only what may be lost is here; the truth is in PostgreSQL.

A worker publishes with `Live`; a web process follows with one `Viewer`. With Redis absent or away, publishing
drops and following says nothing: pages then look into the database.
"""

from runbooks_app.live.streams import Live
from runbooks_app.live.viewer import Viewer

__all__ = ["Live", "Viewer"]
