"""PostgreSQL 18 and Redis, started from what pip installed: for the demo, the tests and a first try.

    with Postgres.start(folder) as database:
        database.url("postgres", "postgres")

Both listen on 127.0.0.1 alone, want a password, keep their state in the folder given, and end when the
process that started them does, however that came about.
"""

from runbooks_app.main.embedded.account import remove
from runbooks_app.main.embedded.guarded import Guarded
from runbooks_app.main.embedded.postgres import Postgres
from runbooks_app.main.embedded.redis import Redis

__all__ = ["Guarded", "Postgres", "Redis", "remove"]
