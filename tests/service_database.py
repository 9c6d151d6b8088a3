"""Databases for tests: migrated once as a template, copied in milliseconds for each test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest
from sqlalchemy import Engine

from runbooks_app.main.embedded import Postgres
from runbooks_app.store.database import connect
from runbooks_app.store.migrate import migrate

APP_PASSWORD = "the application's own"
_numbers = itertools.count()


@dataclass(frozen=True)
class Database:
    """One migrated database: the application's engine, and URLs with passwords for both roles."""

    name: str
    engine: Engine
    server: Postgres

    @property
    def app_url(self) -> str:
        return self.server.url("runbooks_app", self.name)

    @property
    def owner_url(self) -> str:
        return self.server.url(database=self.name)


@pytest.fixture(scope="session")
def migrated_template(postgres_server: Postgres) -> str:
    with psycopg.connect(postgres_server.url(), autocommit=True) as admin:
        admin.execute(f"CREATE ROLE runbooks_app LOGIN PASSWORD '{APP_PASSWORD.replace(chr(39), chr(39) * 2)}'")
        admin.execute("CREATE DATABASE template_runbooks")
    migrate(postgres_server.url(database="template_runbooks"), "", "runbooks_app")
    return "template_runbooks"


@pytest.fixture
def database(postgres_server: Postgres, migrated_template: str) -> Iterator[Database]:
    """A fresh migrated database, dropped afterwards."""
    name = f"runbooks_{next(_numbers)}"
    with psycopg.connect(postgres_server.url(), autocommit=True) as admin:
        # Copied file by file: PostgreSQL's usual way writes each page through its log and takes twice as long.
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {migrated_template} STRATEGY file_copy")
        engine = connect(postgres_server.url("runbooks_app", name, APP_PASSWORD), APP_PASSWORD)
        yield Database(name, engine, postgres_server)
        engine.dispose()
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
