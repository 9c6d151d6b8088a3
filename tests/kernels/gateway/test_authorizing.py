"""A credential that renews itself, one that signs each request, and one that cannot be had any more."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from kernels.gateway.conftest import SECRET, route
from kernels.gateway.servers import HOST

from runbooks_app.core.errors import Refused, Unavailable

pytestmark = pytest.mark.kernels

RULES = ("GET /*", "POST /*")


class Renewed:
    """Another token for each request; each is a secret from then on."""

    def __init__(self):
        self.secrets = []

    def __call__(self, _):
        self.secrets.append(f"{SECRET}-{len(self.secrets)}-{'x' * 8}")
        return {"Authorization": f"Bearer {self.secrets[-1]}"}


class Signing:
    """Keeps what it was asked to sign."""

    def __init__(self):
        self.seen = []

    def __call__(self, outgoing):
        self.seen.append(outgoing)
        return {"Authorization": f"Signed {len(outgoing.body)}", "X-Date": "today"}


class Hanging:
    """Takes its time, and then cannot."""

    def __init__(self, error):
        self.asked, self.go, self.error = 0, threading.Event(), error

    def __call__(self, _):
        self.asked += 1
        self.go.wait(10)
        raise self.error


def test_a_token_that_was_renewed_is_masked_like_the_first(opened, echoing):
    credential = Renewed()
    with opened(route(echoing.port, authorize=credential, secrets=credential.secrets)).client() as client:
        for turn in range(3):
            answered = client.get("/x")
            assert echoing.seen[turn]["headers"][-1] == ["Authorization", f"Bearer {credential.secrets[turn]}"]
            assert credential.secrets[turn] not in answered.text
            assert "*" * len(credential.secrets[turn]) in answered.text


def test_what_was_renewed_is_told_to_whoever_searches_outputs(loop, echoing, opened):
    credential, learned = Renewed(), []
    gateway = opened(
        route(echoing.port, authorize=credential, secrets=credential.secrets),
        learned=lambda: learned.append(tuple(credential.secrets)),
    )
    with gateway.client() as client:
        client.get("/x")
        client.get("/x")
    assert [len(secrets) for secrets in learned] == [1, 2]


def test_a_credential_that_signs_is_given_the_request_as_it_will_be_sent_with_its_whole_body(opened, echoing):
    credential = Signing()
    signing = route(echoing.port, authorize=credential, signs_body=True, base="/aws", rules=RULES)
    with opened(signing).client() as client:
        client.post("/a%20b?x=%2F&y=1", content=iter([b"one", b"two"]), headers={"X-Date": "never", "X-Mine": "1"})
        client.post("/a", content=b"told", headers={"Expect": "100-continue"})
        client.get("/a")
    first, second, third = credential.seen
    assert (first.method, first.url, first.body) == (
        "POST",
        f"http://{HOST}:{echoing.port}/aws/a%20b?x=%2F&y=1",
        b"onetwo",
    )
    assert ("host", f"{HOST}:{echoing.port}") in first.headers
    assert (second.body, third.body) == (b"told", b"")
    assert [seen["body"] for seen in echoing.seen] == ["onetwo", "told", ""]
    for seen, told in zip(echoing.seen, credential.seen, strict=True):
        sent = [(name.lower(), value) for name, value in seen["headers"]]
        assert sent[-2:] == [("authorization", f"Signed {len(told.body)}"), ("x-date", "today")]
        assert sent[:-2] == [pair for pair in told.headers if pair != ("X-Date", "never") and pair[0] != "x-date"]
    assert ("content-length", "6") in first.headers


def test_a_body_that_is_too_long_to_be_signed_is_refused_in_words(opened, echoing):
    credential = Signing()
    with opened(route(echoing.port, authorize=credential, signs_body=True, rules=RULES)).client() as client:
        answered = client.post("/x", content=b"x" * ((1 << 20) + 1))
        assert answered.status_code == 413
        assert "may have 1 MiB" in answered.json()["message"]
        assert client.post("/x", content=b"x" * (1 << 20)).status_code == 200
    assert len(credential.seen) == len(echoing.seen) == 1


def four_at_once(gateway, credential):
    """Answers to four requests, three of which wait while the credential is asked for the first."""
    with gateway.client() as client, ThreadPoolExecutor(4) as people:
        going = [people.submit(client.get, "/x") for _ in range(4)]
        turn, until = gateway.gateway._serving["prometheus"].credential._turn, time.monotonic() + 10
        while len(turn._waiters or ()) < 3 and time.monotonic() < until:
            time.sleep(0.01)
        credential.go.set()
        return [one.result() for one in going]


def test_those_who_waited_while_a_renewal_failed_are_told_at_once_and_nothing_is_sent(opened, echoing):
    credential = Hanging(Unavailable("prometheus: its token could not be renewed. Look at the token server."))
    gateway = opened(route(echoing.port, authorize=credential))
    answers = four_at_once(gateway, credential)
    assert {answered.status_code for answered in answers} == {502}
    assert all("Look at the token server" in answered.json()["message"] for answered in answers)
    assert credential.asked == 1
    assert echoing.seen == []
    with gateway.client() as client:
        client.get("/x")
    assert credential.asked == 2


def test_one_request_that_must_not_be_sent_says_nothing_of_those_beside_it(opened, echoing):
    credential = Hanging(Refused("it would name another system"))
    gateway = opened(route(echoing.port, authorize=credential))
    assert {answered.status_code for answered in four_at_once(gateway, credential)} == {403}
    assert credential.asked == 4
