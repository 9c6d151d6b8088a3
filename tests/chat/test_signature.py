"""Only requests that Slack signed, within five minutes, are taken; everything else is refused."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.signature import SignatureVerifier

from runbooks_app.chat.signature import WINDOW, verify
from runbooks_app.core.errors import Refused

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
NOW = 1_795_000_000
BODY = b"command=%2Frunbook&text=db-latency+note%3D%22a+b%22"


def signed(body: bytes = BODY, at: int = NOW, secret: str = SECRET) -> tuple[str, str]:
    return str(at), SignatureVerifier(secret).generate_signature(timestamp=str(at), body=body)


def test_a_request_that_slack_signed_is_taken():
    key = verify(SECRET, BODY, *signed(), now=NOW)
    assert len(key) == 64


def test_the_same_request_has_the_same_replay_key_and_another_has_another():
    first = verify(SECRET, BODY, *signed(), now=NOW)
    assert verify(SECRET, BODY, *signed(), now=NOW + 200) == first
    assert verify(SECRET, BODY, *signed(at=NOW + 1), now=NOW) != first
    assert verify(SECRET, b"other", *signed(b"other"), now=NOW) != first


@pytest.mark.parametrize("secret", [None, "", "   ", "\n"])
def test_without_a_secret_everything_is_refused(secret):
    with pytest.raises(Refused, match="signing secret"):
        verify(secret, BODY, *signed(), now=NOW)


@pytest.mark.parametrize("age", [WINDOW + 1, -WINDOW - 1, 10**9])
def test_a_stale_or_premature_request_is_refused(age):
    with pytest.raises(Refused, match="five minutes"):
        verify(SECRET, BODY, *signed(at=NOW - age), now=NOW)


@pytest.mark.parametrize(
    "at", ["soon", "", None, "1_795_000_000", " 1795000000", "1795000000.5", "-5", "१७", "9" * 400]
)
def test_a_timestamp_that_is_no_number_is_refused(at):
    signature = SignatureVerifier(SECRET).generate_signature(timestamp=at or "", body=BODY)
    with pytest.raises(Refused):
        verify(SECRET, BODY, at, signature, now=NOW)


@pytest.mark.parametrize("signature", [None, "", "v0=", "v0=" + "0" * 64, "v0=ünicode", "v1=" + "a" * 64])
def test_a_wrong_or_malformed_signature_is_refused(signature):
    with pytest.raises(Refused):
        verify(SECRET, BODY, str(NOW), signature, now=NOW)


def test_an_altered_body_is_refused():
    with pytest.raises(Refused, match="does not match"):
        verify(SECRET, BODY.replace(b"db-latency", b"db-latencx"), *signed(), now=NOW)


def test_a_body_that_was_parsed_and_encoded_again_is_refused():
    body = b"text=a%20b&command=%2frunbook"
    again = urlencode(parse_qsl(body.decode())).encode()
    assert again != body
    with pytest.raises(Refused, match="does not match"):
        verify(SECRET, again, *signed(body), now=NOW)


def test_a_signature_made_with_another_apps_secret_is_refused():
    with pytest.raises(Refused, match="does not match"):
        verify(SECRET, BODY, *signed(secret="another"), now=NOW)


def test_a_body_that_is_not_utf_8_is_refused():
    with pytest.raises(Refused, match="does not match"):
        verify(SECRET, b"\xff\xfe", *signed(), now=NOW)


@given(st.none() | st.text(), st.none() | st.text(), st.binary())
def test_nothing_unsigned_gets_through_and_nothing_but_refused_is_raised(timestamp, signature, body):
    with pytest.raises(Refused):
        verify(SECRET, body, timestamp, signature, now=NOW)
