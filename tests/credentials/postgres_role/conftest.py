"""A provider of minted roles against a real PostgreSQL; every test leaves the cluster without one."""

from __future__ import annotations

import contextlib

import psycopg
import pytest

from runbooks_app.connections import read_connections
from runbooks_app.credentials import Purpose, provider_for

DIAGNOSE = Purpose("run-1", "diagnose", lifetime=60)
REMEDIATE = Purpose("run-1", "remediate", 60, "proposal-1", ("https://issuer#dana", "https://issuer#o'neil"))
NOBODY_LIVES = frozenset()


def minted(session):
    rows = session.execute("SELECT rolname FROM pg_roles WHERE rolname ~ '^runbook_[dr]_'").fetchall()
    return {row[0] for row in rows}


@contextlib.contextmanager
def minting(provider, connection, purpose):
    credential = provider.mint(connection, purpose)
    try:
        yield credential
    finally:
        provider.revoke(connection, credential.identity)


# What a diagnosis may


@pytest.fixture(scope="module")
def connection(orders_server, tmp_path_factory):
    file = tmp_path_factory.mktemp("connections") / "connections.toml"
    file.write_text(orders_server.connection())
    return read_connections(file)["orders-db"]


@pytest.fixture(scope="module")
def reader(connection):
    return provider_for(connection.diagnose)


@pytest.fixture(scope="module")
def operator(connection):
    return provider_for(connection.remediate)


@pytest.fixture(scope="module")
def login(connection):
    """Opens sessions as whom a credential lets in."""

    def session(credential, database="orders", **options):
        return psycopg.connect(
            host=connection.host,
            port=connection.port,
            dbname=database,
            user=credential.identity,
            password=credential.secret,
            autocommit=True,
            **options,
        )

    return session


@pytest.fixture
def admin(orders_server):
    with psycopg.connect(orders_server.server.url(database="orders"), autocommit=True) as session:
        yield session


@pytest.fixture(autouse=True)
def nothing_left(request):
    """Every test leaves the cluster without a minted role; what failed half-way is not blamed on the next."""
    yield
    if "connection" in request.fixturenames:
        connection = request.getfixturevalue("connection")
        server = request.getfixturevalue("orders_server").server
        with psycopg.connect(server.url(database="orders"), autocommit=True) as session:
            left = minted(session)
        provider = provider_for(connection.remediate)
        for identity in left:
            provider.revoke(connection, identity)
        assert not left
