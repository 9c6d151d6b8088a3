"""What the provider publishes is asked for sparingly, and believed only if it can be meant."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import hostile_provider
import pytest
from hostile_provider import OTHER_RSA, RSA

from runbooks_app import oidc
from runbooks_app.core.errors import Misconfigured, Unavailable
from runbooks_app.oidc import NoProvider, OpenIDProvider

pytestmark = pytest.mark.identity


@pytest.fixture
def provider():
    with hostile_provider.serve() as running:
        yield running


class Clock:
    """A clock that tests put forward; `read` tells each time somebody looks at it."""

    def __init__(self):
        self.ahead = 0.0
        self.read = threading.Semaphore(0)

    def monotonic(self):
        self.read.release()
        return time.monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(oidc, "time", made)
    return made


def test_documents_are_kept_for_an_hour_so_that_a_withdrawn_key_is_forgotten(provider, clock):
    found = OpenIDProvider(provider.url)
    before = found.keys()
    provider.keys = (OTHER_RSA,)
    clock.ahead = oidc.KEPT - 10
    assert found.keys() is before
    clock.ahead = oidc.KEPT + 10
    assert [key.kid for key in found.keys().keys] == ["second"]


def test_keys_that_are_too_old_are_not_believed_while_the_provider_is_away(provider, clock):
    found = OpenIDProvider(provider.url)
    found.keys()
    provider.failing = {"/jwks"}
    found.keys()
    clock.ahead = oidc.KEPT + 10
    with pytest.raises(NoProvider):
        found.keys()


def test_keys_in_doubt_are_fetched_anew_and_then_not_for_ten_seconds(provider, clock):
    found = OpenIDProvider(provider.url)
    first = found.keys()
    second = found.keys(stale=first)
    assert second is not first
    for _ in range(50):
        assert found.keys(stale=second) is second
    assert provider.asked.count("/jwks") == 2
    clock.ahead = oidc.REST + 1
    assert found.keys(stale=second) is not second
    assert found.keys(stale=second) is not second  # they are others already
    assert provider.asked.count("/jwks") == 3


def test_who_waited_for_an_answer_that_failed_does_not_ask_in_turn(clock):
    asked = []

    def away():
        asked.append("once")
        waiting.append(pool.submit(kept.get, 60))
        for _ in range(2):  # the first's look at the clock, and that of who waits
            clock.read.acquire()
        raise NoProvider

    kept = oidc._Kept(away)
    waiting = []
    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(NoProvider):
            kept.get(60)
        with pytest.raises(NoProvider):
            waiting[0].result()
    assert asked == ["once"]


def test_a_key_that_somebody_made_up_holds_up_nobody_whose_key_is_at_hand():
    """Tokens are anybody's to send: while one has the keys fetched anew from a provider that hangs, others go on."""
    asked, answer = threading.Semaphore(0), threading.Event()
    at_hand = object()

    def fetch():
        asked.release()
        if kept._kept is None:
            return at_hand
        answer.wait(20)
        raise NoProvider

    kept = oidc._Kept(fetch)
    assert kept.get(60) is at_hand
    with ThreadPoolExecutor(2) as pool:
        asked.acquire()
        doubting = pool.submit(kept.get, 60, at_hand)
        asked.acquire()
        try:
            assert pool.submit(kept.get, 60).result(timeout=5) is at_hand
        finally:
            answer.set()
        with pytest.raises(NoProvider):
            doubting.result()
    assert kept.get(60) is at_hand


@pytest.mark.parametrize(
    "change",
    [
        {"token_endpoint": "http://idp.example/token"},
        {"end_session_endpoint": "http://idp.example/end"},
        {"jwks_uri": "file:///etc/keys"},
        {"authorization_endpoint": "https://"},
        {"device_authorization_endpoint": ["https://idp.example/device"]},
        {"authorization_endpoint": "https://[idp.example"},
        {"issuer": "https://idp.example/"},
    ],
)
def test_a_provider_with_https_names_no_other_places(monkeypatch, change):
    good = {
        "issuer": "https://idp.example",
        "authorization_endpoint": "https://idp.example/authorize",
        "token_endpoint": "https://idp.example/token",
        "jwks_uri": "https://keys.example/jwks",
    }
    told = dict(good)
    found = OpenIDProvider("https://idp.example")
    monkeypatch.setattr(found, "_json", lambda *_: told)
    assert found.metadata() == good
    told.update(change)
    with pytest.raises(Misconfigured):
        found.metadata(fresh_within=0)


def test_a_document_is_taken_from_nowhere_else_than_where_it_was_asked_for(provider):
    found = OpenIDProvider(provider.url)
    provider.moved = {"/jwks": "/elsewhere"}
    with pytest.raises(NoProvider):
        found.keys()
    provider.moved = {}
    assert len(found.keys().keys) == 2


def test_a_document_that_is_none_is_as_good_as_no_answer(provider):
    for nonsense in ("[]", "nothing", "null"):
        provider.discovery = lambda _, nonsense=nonsense: nonsense
        with pytest.raises(NoProvider):
            OpenIDProvider(provider.url).metadata()
    provider.discovery = dict

    class Broken:
        @staticmethod
        def as_dict(**_):
            return {"kty": "RSA"}

    provider.keys = (RSA, Broken)
    with pytest.raises(Unavailable, match="no keys that can be read"):
        OpenIDProvider(provider.url).keys()
