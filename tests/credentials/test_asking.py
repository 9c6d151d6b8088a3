"""One question to a system that gives credentials: over TLS that is checked, straight there, bounded, told in words."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from kernels.gateway.certificates import Authority
from kernels.gateway.servers import HOST, answer, http_server, raw_server

from runbooks_app.asking import ask, told
from runbooks_app.core.errors import Misconfigured, Unavailable

pytestmark = pytest.mark.identity

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJydW5ib29rIn0.c2lnbmF0dXJlLW9mLWl0"


def hello(handler, system):
    system.seen.append(dict(handler.headers))
    answer(handler, b'{"hello": "there"}')


def test_a_private_authority_vouches_for_its_own_servers_and_for_no_other(tmp_path):
    authority = Authority.make(tmp_path)
    with http_server(hello, authority.server(HOST)) as system:
        url = f"https://{HOST}:{system.port}/"
        assert ask("here", "GET", url, ca_file=str(authority.file)).object() == {"hello": "there"}
        with pytest.raises(Unavailable, match=r"^here could not be reached: .*certificate verify failed"):
            ask("here", "GET", url)
        (tmp_path / "other").mkdir()
        with pytest.raises(Unavailable, match="certificate verify failed"):
            ask("here", "GET", url, ca_file=str(Authority.make(tmp_path / "other").file))
    with http_server(hello, authority.server("vault.example.com")) as system:
        with pytest.raises(Unavailable, match=r"certificate verify failed: IP address mismatch"):
            ask("here", "GET", f"https://{HOST}:{system.port}/", ca_file=str(authority.file))
        assert system.seen == []


def test_an_authority_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "empty.pem").write_text("no certificate")
    for name in ("empty.pem", "none.pem"):
        with pytest.raises(Misconfigured, match=rf"^here: \S+{name} cannot be used as its authority"):
            ask("here", "GET", "https://127.0.0.1:1/", ca_file=str(tmp_path / name))


def test_proxies_and_passwords_of_the_environment_are_not_used(monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text(f"machine {HOST} login ana password of-the-environment")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with http_server(hello) as system:
        ask("here", "GET", f"http://{HOST}:{system.port}/")
    assert "Authorization" not in system.seen[0]


def test_an_answer_that_drips_without_end_is_cut_off_in_time():
    stopped = threading.Event()

    def dripping(connection, _):
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while not stopped.wait(0.05):
            connection.sendall(b"X-More: 1\r\n")

    begun = time.monotonic()
    with raw_server(dripping) as system:
        with pytest.raises(Unavailable, match=r"^here did not answer within 0\.5 s"):
            ask("here", "GET", f"http://{HOST}:{system.port}/", within=0.5)
        stopped.set()
    assert time.monotonic() - begun < 5


def test_it_may_be_asked_from_any_thread_without_a_loop():
    async def inside():
        with http_server(hello) as system:
            return await asyncio.to_thread(ask, "here", "GET", f"http://{HOST}:{system.port}/")

    assert asyncio.run(inside()).status == 200


def test_what_a_system_says_is_told_in_one_line_without_what_it_was_asked_with():
    assert told(f"line one\n\tsays {TOKEN} and {TOKEN[:30]}.") == "line one says *** and ***"
    assert told("the word sesame-open was wrong", "sesame-open") == "the word *** was wrong"
    assert len(told("x" * 5000)) == 300
