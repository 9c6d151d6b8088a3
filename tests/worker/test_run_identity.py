"""Run tokens, from the folder of keys to somebody who verifies them by the issuer's address alone."""

from __future__ import annotations

import base64
import json
import multiprocessing
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from installation import DIAGNOSE, REMEDIATE, RUNBOOK, WORLD, discovered, header, kid
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from service_database import APP_PASSWORD

from runbooks_app.core.errors import InvalidInput, Misconfigured, Unavailable
from runbooks_app.core.id_tokens import (
    Untrusted,
    believed,
    believed_access,
    believed_logout,
    believed_once,
    signed_claims,
)
from runbooks_app.credentials.issuer import STALE
from runbooks_app.main.identity import issuer as assembled
from runbooks_app.settings import Settings
from runbooks_app.worker import identity as upkeep
from runbooks_app.worker.context import Worker

pytestmark = pytest.mark.identity

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


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
    assert header(token) == {"alg": "RS256", "typ": "JWT", "kid": key["kid"]}


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


def test_a_clock_that_is_put_right_by_hours_changes_the_times_in_tokens_and_nothing_else(installation):
    issuer = installation.turn()
    issuer.clock = START.timestamp
    assert installation.verified(issuer.token("a", DIAGNOSE))["iat"] == START.timestamp()


class Ours:
    """The worst that could be: a sign-in provider that publishes our keys as its own."""

    def __init__(self, url):
        self.url = url

    def keys(self, stale=None):  # noqa: ARG002 -- as real ones have it
        return KeySet.import_key_set({"keys": discovered(self.url)})


def test_a_run_token_is_nobodys_sign_in_decision_logout_or_access_whoever_publishes_its_key(installation):
    token = installation.turn().token("runbooks", REMEDIATE)
    now, keys = datetime.now(UTC).timestamp(), Ours(installation.url)
    assert signed_claims(token, keys, kinds=("JWT",))["aud"] == "runbooks"
    issuer, client = {"issuer": "https://idp.example"}, {"client_id": "runbooks"}
    for refuses in (
        lambda **who: believed(token, keys, **who, **client, nonce="", now=now),
        lambda **who: believed_once(token, keys, **who, **client, nonce="n", fresh_within=300, now=now),
        lambda **who: believed_logout(token, keys, **who, **client, now=now),
        lambda **who: believed_access(token, keys, **who, audience="runbooks", now=now),
    ):
        with pytest.raises(Untrusted, match="issuer"):
            refuses(**issuer)
    # And if the issuer were the same, which the settings refuse: it still is no sign-in, no decision and no logout.
    for refuses in (
        lambda: believed(token, keys, issuer=installation.url, **client, nonce="n", now=now),
        lambda: believed_once(token, keys, issuer=installation.url, **client, nonce="n", fresh_within=300, now=now),
        lambda: believed_logout(token, keys, issuer=installation.url, **client, now=now),
    ):
        with pytest.raises(Untrusted):
            refuses()


def test_what_is_published_and_withdrawn_is_entered(installation):
    for day in (0, 30, 33):
        installation.turn(now=START + day * DAY)
    published = installation.entries("identity_key.published")
    (withdrawn,) = installation.entries("identity_key.withdrawn")
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
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None, raising=False)  # a test process may have none
    given = (url, APP_PASSWORD, str(installation.folder))
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        began = [pool.submit(look_in_a_process, *given, f"w{number}") for number in range(4)]
        signs = {one.result() for one in began}
    assert len(signs) == 1
    assert installation.files() == set(installation.kids()) == signs
    assert len(installation.entries("identity_key.published")) == 1


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


def test_a_key_that_nobody_could_look_after_for_an_hour_signs_no_more_and_says_why(installation):
    issuer = installation.turn()
    issuer.fail(Misconfigured("the folder is open to others"))
    issuer._looked -= STALE - 60
    assert issuer.token("a", DIAGNOSE)
    issuer._looked -= 61
    with pytest.raises(Misconfigured, match="the folder is open to others"):
        issuer.token("a", DIAGNOSE)
    installation.turn()
    assert issuer.token("a", DIAGNOSE)


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
