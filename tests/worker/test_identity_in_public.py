"""The keys of the run identity in public: withdrawn, forgotten, forged, published by hand."""

from __future__ import annotations

import contextlib
import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg
import pytest
from installation import DIAGNOSE, WORLD, discovered, installed, kid, verified
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from runbooks_app.actions import identity
from runbooks_app.actions.context import worker_actor
from runbooks_app.core.errors import Misconfigured, NotFound, RunbooksError

pytestmark = pytest.mark.identity

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def test_a_worker_that_dies_between_withdrawing_a_key_and_removing_it_uses_it_no_more(installation):
    for day in (0, 30):
        installation.turn(now=START + day * DAY)
    old, new = installation.kids()
    identity.withdraw(installation.service, worker_actor("w1"), old, identity.DONE)
    assert kid(installation.turn(now=START + 30.5 * DAY).token("a", DIAGNOSE)) == new
    assert installation.files() == {new}


def test_a_key_that_operators_withdraw_is_gone_with_the_next_look_and_another_signs(installation):
    token = installation.turn().token("a", DIAGNOSE)
    identity.withdraw(installation.service, worker_actor("w1"), kid(token), "lost")
    assert WORLD.get(f"{installation.url}/.well-known/jwks.json").status_code == 404
    other = installation.turn().token("a", DIAGNOSE)
    assert kid(other) != kid(token)
    assert installation.files() == {kid(other)}
    assert installation.verified(other)
    with pytest.raises((JoseError, ValueError)):
        installation.verified(token)
    with pytest.raises(NotFound, match="identity jwks"):
        identity.withdraw(installation.service, worker_actor("w1"), kid(token), "again")


def test_keys_of_a_worker_that_is_no_more_are_withdrawn_after_a_day(installation):
    installation.issuer("gone", folder="lost")
    gone = kid(installation.turn("gone", now=START).token("a", DIAGNOSE))
    stays = kid(installation.turn("w1", now=START).token("a", DIAGNOSE))
    for hour in range(0, 24, 6):
        installation.turn("w1", now=START + timedelta(hours=hour))
    assert set(installation.kids()) == {gone, stays}
    installation.turn("w1", now=START + timedelta(hours=25))
    assert installation.kids() == [stays]
    (entry,) = installation.entries("identity_key.withdrawn")
    assert json.loads(entry.body) == {"reason": identity.LEFT}
    # It comes back after all: its key was withdrawn for good, so it makes another.
    back = kid(installation.turn("gone", now=START + 2 * DAY).token("a", DIAGNOSE))
    assert back not in {gone, stays}
    assert set(installation.kids()) == {stays, back}


FORGED = RSAKey.generate_key(2048)


def test_a_key_that_somebody_put_into_the_database_is_not_served_beside_the_trail(installation):
    mine = installation.turn().token("a", DIAGNOSE)
    forged = FORGED.as_dict(private=True)
    with psycopg.connect(installation.database.owner_url, autocommit=True) as owner:
        owner.execute("INSERT INTO identity_keys (kid, jwk) VALUES (%s, %s)", [FORGED.thumbprint(), json.dumps(forged)])
        assert installation.kids() == [kid(mine)]
        # Nor is another key served under the name of one that was published.
        owner.execute("UPDATE identity_keys SET jwk = %s WHERE kid = %s", [json.dumps(forged), kid(mine)])
        assert WORLD.get(f"{installation.url}/.well-known/jwks.json").status_code == 404
        for nonsense in ('{"kty": "EC"}', "[]", '"x"', "null"):
            owner.execute("UPDATE identity_keys SET jwk = %s WHERE kid = %s", [nonsense, kid(mine)])
            assert WORLD.get(f"{installation.url}/.well-known/jwks.json").status_code == 404


def test_a_withdrawn_key_does_not_come_back_by_a_change_in_the_database(installation):
    token = installation.turn().token("a", DIAGNOSE)
    identity.withdraw(installation.service, worker_actor("w1"), kid(token), "lost")
    with psycopg.connect(installation.database.owner_url, autocommit=True) as owner:
        owner.execute("UPDATE identity_keys SET withdrawn_at = NULL")
    assert WORLD.get(f"{installation.url}/.well-known/jwks.json").status_code == 404


def test_private_parts_in_the_database_are_never_served(installation):
    installation.turn()
    key = next(iter(installation.issuer().folder.keys().values())).as_dict(private=True)
    with psycopg.connect(installation.database.owner_url, autocommit=True) as owner:
        owner.execute("UPDATE identity_keys SET jwk = jwk || %s", [json.dumps(key)])
    (served,) = discovered(installation.url)
    assert "d" not in served


def test_nothing_private_is_in_the_database(installation):
    installation.turn()
    (path,) = (installation.folder / "keys").glob("*.pem")
    private = RSAKey.import_key(path.read_bytes()).as_dict(private=True)
    with psycopg.connect(installation.database.owner_url) as owner:
        names = [name for (name,) in owner.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        held = "\n".join(str(row) for name in names for row in owner.execute(f'SELECT t::text FROM "{name}" t'))
    assert private["n"] in held
    assert not [part for part in ("d", "p", "q", "dp", "dq", "qi") if private[part] in held]
    assert "PRIVATE KEY" not in held
    assert private["d"] not in repr(installation.issuer())


class Published:
    """A place where operators put the keys by hand."""

    def __init__(self):
        self.body, self.status = b"", 200
        place = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(place.status)
                self.send_header("Content-Length", str(len(place.body)))
                self.end_headers()
                self.wfile.write(place.body)

            def log_message(self, *_):
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def put(self, *keys):
        self.body = json.dumps({"keys": list(keys)}).encode()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def by_hand():
    place = Published()
    yield place
    place.close()


def jwks(installation):
    return WORLD.get(f"{installation.url}/.well-known/jwks.json").json()["keys"]


def test_where_keys_are_published_by_hand_none_signs_that_is_not_there(database, tmp_path, by_hand):
    with installed(database, tmp_path, identity_jwks_uri=by_hand.url) as installation:
        document = WORLD.get(f"{installation.url}/.well-known/openid-configuration")
        assert document.status_code == 404
        for body in (b"", b"[]", b'{"keys": {}}', b'{"keys": [1, {}, {"kty": "EC"}]}'):
            by_hand.body = body
            with contextlib.suppress(Misconfigured):
                installation.turn(now=START)
            with pytest.raises(RunbooksError):
                installation.issuer().token("a", DIAGNOSE)
        by_hand.put(*jwks(installation))
        issuer = installation.turn(now=START)
        # Whoever asks the web process is led to the other place; whoever has its keys owns nothing by it.
        document = WORLD.get(f"{installation.url}/.well-known/openid-configuration").json()
        assert document["jwks_uri"] == by_hand.url
        first = issuer.token("a", DIAGNOSE)
        assert verified(first, installation.url)["aud"] == "a"
        installation.turn(now=START + 30 * DAY)
        assert kid(installation.turn(now=START + 40 * DAY).token("a", DIAGNOSE)) == kid(first)
        by_hand.put(*jwks(installation), {"kty": "EC", "crv": "P-256", "x": "x", "y": "y"})
        assert kid(installation.turn(now=START + 41 * DAY).token("a", DIAGNOSE)) != kid(first)
        # Another key under the name of ours is another key.
        by_hand.put({**FORGED.as_dict(private=False), "kid": kid(first)})
        with pytest.raises(Misconfigured, match="is published at"):
            installation.turn(now=START + 41 * DAY).token("a", DIAGNOSE)


def test_where_the_place_of_the_keys_is_away_the_last_one_goes_on_for_a_while(database, tmp_path, by_hand):
    with installed(database, tmp_path, identity_jwks_uri=by_hand.url) as installation:
        by_hand.put()
        installation.turn()
        by_hand.put(*jwks(installation))
        issuer = installation.turn()
        by_hand.status = 503
        with pytest.raises(Misconfigured, match="status 503"):
            installation.turn()
        by_hand.status = 200
        assert installation.verified(issuer.token("a", DIAGNOSE))
