"""Run tokens, from the folder of keys to somebody who verifies them by the issuer's address alone."""

from __future__ import annotations

import base64
import contextlib
import json
import multiprocessing
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from installation import DIAGNOSE, REMEDIATE, RUNBOOK, WORLD, discovered, installed, verified
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from service_database import APP_PASSWORD

from runbooks_app.actions import identity
from runbooks_app.actions.context import worker_actor
from runbooks_app.core.errors import InvalidInput, Misconfigured, NotFound, RunbooksError, Unavailable
from runbooks_app.credentials.issuer import STALE
from runbooks_app.main.identity import issuer as assembled
from runbooks_app.settings import Settings
from runbooks_app.store import audit
from runbooks_app.store.database import reading
from runbooks_app.worker import identity as upkeep
from runbooks_app.worker.context import Worker

pytestmark = pytest.mark.identity

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def parts(token):
    return [json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2]]


def kid(token):
    return parts(token)[0]["kid"]


def entries(installation, *events):
    with reading(installation.service.engine) as tx:
        return [entry for entry in audit.entries(tx) if entry.event in events]


def test_a_token_is_verified_by_whoever_knows_the_issuers_address(installation):
    token = installation.turn().token("sts.amazonaws.com", REMEDIATE)
    claims = installation.verified(token)
    assert (claims["iss"], claims["aud"]) == (installation.url, "sts.amazonaws.com")
    assert claims["sub"] == f"runbook:{RUNBOOK}:env:production:stage:remediate"
    assert claims["requested_by"] == ["https://idp#ana"]
    assert claims["approved_by"] == ["https://idp#ben"]
    assert claims["exp"] - claims["iat"] == 300
    assert abs(claims["iat"] - datetime.now(UTC).timestamp()) < 60
    (key,) = discovered(installation.url)
    assert set(key) == {"kty", "use", "alg", "kid", "n", "e"}
    assert parts(token)[0] == {"alg": "RS256", "typ": "JWT", "kid": key["kid"]}


def test_its_signature_holds_by_the_numbers_of_the_key_alone(installation):
    """RFC 7515 and RFC 8017 by hand: not by the library that signed it."""
    token = installation.turn().token("a", DIAGNOSE)
    (key,) = discovered(installation.url)
    numbers = [int.from_bytes(base64.urlsafe_b64decode(key[name] + "=="), "big") for name in ("e", "n")]
    signed, _, signature = token.rpartition(".")
    public = rsa.RSAPublicNumbers(*numbers).public_key()
    public.verify(base64.urlsafe_b64decode(signature + "=="), signed.encode(), padding.PKCS1v15(), hashes.SHA256())


def test_each_token_has_an_id_and_an_audience_of_its_own(installation):
    issuer = installation.turn()
    said = [installation.verified(issuer.token(audience, DIAGNOSE)) for audience in ("a", "a", "b")]
    assert len({claims["jti"] for claims in said}) == 3
    assert [claims["aud"] for claims in said] == ["a", "a", "b"]
    with pytest.raises(InvalidInput, match="stage 'verify'"):
        issuer.token("a", replace(DIAGNOSE, stage="verify"))


def test_what_is_published_and_withdrawn_is_entered(installation):
    for day in (0, 30, 33):
        installation.turn(now=START + day * DAY)
    published = entries(installation, "identity_key.published")
    (withdrawn,) = entries(installation, "identity_key.withdrawn")
    assert len(published) == 2
    assert withdrawn.objects == published[0].objects
    key = json.loads(published[1].body)["jwk"]
    assert [key] == discovered(installation.url)
    assert json.loads(published[1].objects) == {"key": key["kid"]}
    assert "PRIVATE" not in json.dumps([entry.as_json() for entry in published])


def test_through_months_of_rotation_every_token_is_verified_by_what_is_served(installation):
    """Looked at twice a day. Somebody who fetches the keys once a day verifies every token, too."""
    signed, first_served, cache, cached_at = {}, {}, [], START - 2 * DAY
    for hour in range(0, 24 * 64, 12):
        now = START + timedelta(hours=hour)
        issuer = installation.turn(now=now)
        served = installation.kids()
        for name in served:
            first_served.setdefault(name, now)
        if now - cached_at >= DAY:
            cache, cached_at = served, now
        signs = kid(issuer.token("a", DIAGNOSE))
        assert signs in cache
        signed.setdefault(signs, now)
        assert installation.files() == set(served)
        assert len(served) <= 2
    assert len(signed) == 3
    for name, began in list(signed.items())[1:]:
        assert began - first_served[name] >= DAY


def test_a_token_of_the_last_key_holds_until_it_has_lapsed_and_no_longer_than_the_key(installation):
    old = installation.turn(now=START).token("a", DIAGNOSE)
    installation.turn(now=START + 30 * DAY)
    new = installation.turn(now=START + 31 * DAY).token("a", DIAGNOSE)
    assert kid(old) != kid(new)
    assert installation.verified(old)["jti"] != installation.verified(new)["jti"]
    installation.turn(now=START + 33 * DAY)
    assert installation.verified(new)
    with pytest.raises((JoseError, ValueError)):
        installation.verified(old)


def test_workers_that_share_a_folder_sign_by_the_same_key_also_while_it_changes(installation):
    first, second = installation.turn("w1", now=START), installation.turn("w2", now=START)
    assert kid(first.token("a", DIAGNOSE)) == kid(second.token("a", DIAGNOSE))
    installation.turn("w1", now=START + 30 * DAY)
    installation.turn("w1", now=START + 31 * DAY)
    # The other has not looked yet: what it signs by is still served.
    assert installation.verified(second.token("a", DIAGNOSE))
    installation.turn("w2", now=START + 31 * DAY)
    assert kid(first.token("a", DIAGNOSE)) == kid(second.token("a", DIAGNOSE))
    assert len(installation.kids()) == 2


def test_workers_with_folders_of_their_own_are_believed_alike(installation):
    installation.issuer("w2", folder="others")
    tokens = [installation.turn(name).token("a", DIAGNOSE) for name in ("w1", "w2")]
    assert len({kid(token) for token in tokens}) == 2
    assert all(map(installation.verified, tokens))
    assert len(installation.kids()) == 2


def look_in_a_process(url: str, password: str, folder: str, worker: str) -> str:
    """A worker's first turn, in a process of its own; the key that signs."""
    from installation import Issuer, KeyFolder, Library, Service  # for the process that begins here

    from runbooks_app.store.artifacts import Artifacts
    from runbooks_app.store.database import connect

    settings = Settings(identity_keys=Path(folder) / "keys", config_dir=Path(folder))
    library = Library(Path(folder) / "library")
    service = Service(connect(url, password), library, {}, settings, Artifacts("file://a", Path(folder)))
    issuer = Issuer(settings.issuer, KeyFolder(Path(folder) / "keys"))
    upkeep.look_after(service, worker, issuer)
    return kid(issuer.token("a", DIAGNOSE))


def test_processes_that_begin_with_the_empty_folder_at_once_make_one_key(installation, monkeypatch):
    database = installation.database
    url = database.server.url("runbooks_app", database.name, APP_PASSWORD)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    given = (url, APP_PASSWORD, str(installation.folder))
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        began = [pool.submit(look_in_a_process, *given, f"w{number}") for number in range(4)]
        signs = {one.result() for one in began}
    assert len(signs) == 1
    assert installation.files() == set(installation.kids()) == signs
    assert len(entries(installation, "identity_key.published")) == 1


def test_a_key_whose_worker_died_before_it_was_published_signs_nothing_until_it_is(installation):
    issuer = installation.issuer()
    with issuer.folder.locked():
        issuer.folder.make()
    (made,) = installation.files()
    with pytest.raises(Unavailable, match="No key of the run identity is published yet"):
        issuer.token("a", DIAGNOSE)
    assert kid(installation.turn().token("a", DIAGNOSE)) == made
    assert installation.kids() == [made]


def test_no_token_is_signed_by_a_key_that_could_not_be_published(installation):
    """The trail is away: neither the first key nor the next one comes into use before the entry is committed."""
    with psycopg.connect(installation.database.owner_url, autocommit=True) as owner:
        owner.execute("REVOKE EXECUTE ON FUNCTION audit_append FROM runbooks_app")
        with pytest.raises(Exception, match="permission denied"):
            installation.turn(now=START)
        with pytest.raises(Unavailable):
            installation.issuer().token("a", DIAGNOSE)
        assert WORLD.get(f"{installation.url}/.well-known/jwks.json").status_code == 404
        owner.execute("GRANT EXECUTE ON FUNCTION audit_append TO runbooks_app")
        first = kid(installation.turn(now=START).token("a", DIAGNOSE))
        owner.execute("REVOKE EXECUTE ON FUNCTION audit_append FROM runbooks_app")
        for day in (30, 35):
            with pytest.raises(Exception, match="permission denied"):
                installation.turn(now=START + day * DAY)
            assert kid(installation.issuer().token("a", DIAGNOSE)) == first
        owner.execute("GRANT EXECUTE ON FUNCTION audit_append TO runbooks_app")
    # It was made on day 30, and is published for a day from now on all the same.
    assert kid(installation.turn(now=START + 36 * DAY).token("a", DIAGNOSE)) == first
    assert len(installation.files()) == 2
    assert kid(installation.turn(now=START + 37 * DAY).token("a", DIAGNOSE)) != first


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
    (entry,) = entries(installation, "identity_key.withdrawn")
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


def test_a_key_that_nobody_could_look_after_for_an_hour_signs_no_more_and_says_why(installation):
    issuer = installation.turn()
    now = issuer.clock()
    issuer.clock = lambda: now + STALE - 1
    issuer.fail(Misconfigured("the folder is open to others"))
    assert issuer.token("a", DIAGNOSE)
    issuer.clock = lambda: now + STALE + 1
    with pytest.raises(Misconfigured, match="the folder is open to others"):
        issuer.token("a", DIAGNOSE)
    installation.turn()
    assert issuer.token("a", DIAGNOSE)


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


def test_many_threads_get_tokens_while_keys_are_looked_after(installation):
    issuer = installation.turn()
    with ThreadPoolExecutor(8) as pool:
        tokens = [pool.submit(issuer.token, "a", DIAGNOSE) for _ in range(40)]
        installation.turn()
        said = [installation.verified(token.result()) for token in tokens]
    assert len({claims["jti"] for claims in said}) == 40


def a_worker(installation):
    """One whose kernels and chat nobody asks for."""
    return Worker(
        "w1",
        installation.service,
        engine=None,
        live=None,
        slack=None,
        leases=None,
        signatures=None,
        issuer=installation.issuer(),
    )


def test_a_worker_publishes_its_keys_before_it_takes_a_job_and_tries_again_after_a_failure(installation, monkeypatch):
    monkeypatch.setattr(upkeep, "AGAIN", 0.01)
    keys = installation.folder / "keys"
    keys.mkdir(mode=0o755)
    issuer = installation.issuer()

    keeper = upkeep.Keeper(a_worker(installation))
    keeper.start()
    with pytest.raises(Misconfigured, match="chmod 700"):
        issuer.token("a", DIAGNOSE)
    looked = threading.Event()
    signs = issuer.sign_with
    issuer.sign_with = lambda key: (signs(key), looked.set())
    keys.chmod(0o700)
    assert looked.wait(20)
    assert installation.verified(issuer.token("a", DIAGNOSE))
    keeper.stop()


def test_a_defect_in_the_upkeep_is_told_and_does_not_end_it(installation, monkeypatch, caplog):
    monkeypatch.setattr(upkeep, "look_after", lambda *_: 1 / 0)
    keeper = upkeep.Keeper(a_worker(installation))
    assert keeper._turn(installation.issuer()) == keeper._turn(installation.issuer()) == upkeep.AGAIN
    assert caplog.text.count("ZeroDivisionError") == 1


def test_no_folder_that_kernels_may_read_is_taken(tmp_path):
    import runbooks_app

    (tmp_path / "library").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "library")
    readable = [tmp_path / "library", tmp_path / "library" / "deep", tmp_path / "link" / "keys"]
    for folder in (*readable, Path("/usr/share/keys"), Path(runbooks_app.__file__).parent / "keys"):
        with pytest.raises(Misconfigured, match="every kernel may read"):
            assembled(Settings(config_dir=tmp_path, library=Path("library"), identity_keys=folder))
    assert assembled(Settings(config_dir=tmp_path, library=Path("library"))) is None
    found = assembled(Settings(config_dir=tmp_path, library=Path("library"), identity_keys=Path("keys")))
    assert found.folder.path == tmp_path / "keys"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"public_url": "http://runbooks.example.com", "identity_keys": "keys"}, "https"),
        ({"identity_issuer": "http://id.example.com", "identity_keys": "keys"}, "https"),
        ({"identity_jwks_uri": "http://id.example.com/keys", "identity_keys": "keys"}, "https"),
        ({"identity_issuer": "id.example.com"}, "must look like"),
        ({"identity_issuer": "https://id.example.com/?x"}, "must look like"),
        ({"identity_issuer": "https://you@id.example.com"}, "must look like"),
        ({"public_url": "https://x.example", "oidc_issuer": "https://x.example/"}, "sign in with"),
        ({"identity_issuer": "https://x.example", "oidc_issuer": "https://x.example"}, "sign in with"),
    ],
)
def test_settings_by_which_tokens_could_be_forged_or_mistaken_are_refused(given, told):
    with pytest.raises(ValueError, match=told):
        Settings(**given)
