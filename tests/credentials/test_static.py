"""The standing credential: read for each stage, handed on as a header, ended by nobody."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from runbooks_app.connections import CredentialSource
from runbooks_app.core.errors import Misconfigured
from runbooks_app.core.outgoing import Outgoing
from runbooks_app.credentials import STANDING, Purpose, provider_for

PROMETHEUS = SimpleNamespace(name="prometheus", host="", port=0, database="")
DIAGNOSE = Purpose("run-1", "diagnose", 60)
SECRET = "tok-7f3a/9+zW="


@pytest.fixture
def provider(tmp_path):
    def provider(secret=SECRET, **options):
        (tmp_path / "token").write_bytes(secret if isinstance(secret, bytes) else f"{secret}\n".encode())
        given = {"secret_file": str(tmp_path / "token"), "header": "Authorization", "scheme": "Bearer"} | options
        return provider_for(CredentialSource("static", given))

    return provider


def sent_with(minted):
    return minted.authorize(Outgoing("GET", "http://prometheus/x"))


def test_it_is_sent_as_a_bearer_token_unless_told_otherwise(provider):
    assert sent_with(provider().mint(PROMETHEUS, DIAGNOSE)) == {"Authorization": f"Bearer {SECRET}"}
    bare = provider(header="X-Api-Key", scheme="").mint(PROMETHEUS, DIAGNOSE)
    assert sent_with(bare) == {"X-Api-Key": SECRET}
    assert bare.secrets == [SECRET]


def test_a_password_is_encoded_and_each_part_that_gives_it_away_is_known(provider):
    minted = provider("reader:pass:word9", scheme="Basic").mint(PROMETHEUS, DIAGNOSE)
    assert sent_with(minted) == {"Authorization": "Basic cmVhZGVyOnBhc3M6d29yZDk="}
    assert minted.secrets == ["reader:pass:word9", "cmVhZGVyOnBhc3M6d29yZDk=", "pass:word9"]


def test_it_shows_nowhere(provider):
    minted = provider().mint(PROMETHEUS, DIAGNOSE)
    assert SECRET not in repr(minted)
    assert SECRET not in repr(provider())


def test_each_use_has_a_name_of_its_own_and_a_new_secret_is_used_at_once(provider):
    first, second = (provider(secret).mint(PROMETHEUS, DIAGNOSE) for secret in ("old-secret", "new-secret"))
    assert first.identity != second.identity
    assert (first.secret, second.secret) == ("old-secret", "new-secret")


def test_nothing_ends_it_and_that_is_told(provider):
    provided = provider()
    minted = provided.mint(PROMETHEUS, DIAGNOSE)
    assert not provided.revoke(PROMETHEUS, minted.identity)
    assert provided.sweep(PROMETHEUS, frozenset()) == []
    assert minted.expires_at is None
    assert "static" in STANDING
    assert "does not end with the stage" in minted.note


@pytest.mark.parametrize("secret", ["", "short", "two\nlines of it", "nön-ascii-secret", b"\xff\xfe12345678"])
def test_what_cannot_be_a_secret_is_refused_by_the_files_name(provider, tmp_path, secret):
    with pytest.raises(Misconfigured, match=r"prometheus: .*token") as refused:
        provider(secret).mint(PROMETHEUS, DIAGNOSE)
    assert not secret or str(secret) not in refused.value.message


def test_basic_wants_user_and_password(provider):
    with pytest.raises(Misconfigured, match="user:password"):
        provider("no-colon-in-it", scheme="Basic").mint(PROMETHEUS, DIAGNOSE)


def test_a_missing_file_is_named(provider, tmp_path):
    missing = provider(secret_file=str(tmp_path / "none"))
    with pytest.raises(Misconfigured, match=r"none.*No such file"):
        missing.mint(PROMETHEUS, DIAGNOSE)
