"""The servers that a bench stands on: a migrated database and a Redis, and the settings that lead to them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from runbooks_app.main.embedded import Postgres, Redis
from runbooks_app.store.migrate import migrate

ROLE = "runbooks_app"


@dataclass(frozen=True)
class Servers:
    """What runs, and what a service has to be told of it."""

    database: Postgres
    redis: Redis
    settings: dict[str, str]

    @property
    def owner_url(self) -> str:
        """The service's database, as its owner."""
        return self.database.url(database="bench")


@contextmanager
def servers(folder: Path, *, durable: bool) -> Iterator[Servers]:
    """Started in this folder, and stopped again; `durable` as a database that people rely on has to be."""
    redis = Redis.start(folder / "redis")
    if redis is None:
        raise RuntimeError("There is no redis-server on PATH.")
    with redis, Postgres.start(folder / "service", durable=durable) as database:
        password = secrets.token_urlsafe(24)
        with psycopg.connect(database.url(), autocommit=True) as admin:
            create = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
            admin.execute(create.format(sql.Identifier(ROLE), sql.Literal(password)))
            admin.execute("CREATE DATABASE bench")
        migrate(database.url(database="bench"), "", ROLE)
        settings = {
            "artifacts": f"file://{folder / 'artifacts'}",
            "database_url": f"postgresql://{ROLE}@127.0.0.1:{database.port}/bench",
            "database_password_file": secret(folder / "database.secret", password),
            "redis_url": redis.url,
            "redis_password_file": secret(folder / "redis.secret", redis.password),
        }
        yield Servers(database, redis, settings)


def secret(path: Path, content: str) -> str:
    """A file that holds this and is its owner's alone: its name."""
    path.touch(0o600)
    path.write_text(content)
    return str(path)
