"""What is an http address, and where a secret may be sent."""

from __future__ import annotations

import pytest

from runbooks_app.core.addresses import http_address, keeps_secrets


@pytest.mark.parametrize("url", ["https://vault.example.com:8200/v1", "http://127.0.0.1", "http://[::1]:80/x?y"])
def test_an_http_address_is_read(url):
    assert http_address(url).geturl() == url


@pytest.mark.parametrize("url", ["", "vault", "ftp://x", "http://", "http://x:port", "http://x:0", "http://[::1"])
def test_what_is_none_is_told_as_none(url):
    assert http_address(url) is None
    assert not keeps_secrets(url)


@pytest.mark.parametrize("url", ["https://x", "http://127.0.0.9:80", "http://localhost:1/a?b", "http://[::1]"])
def test_a_secret_may_go_by_tls_or_stay_on_this_machine(url):
    assert keeps_secrets(url)


@pytest.mark.parametrize(
    "url",
    ["http://x", "http://10.0.0.1", "http://localhost.example.com", "https://me@x", "https://x#y", "https://x/\n"],
)
def test_a_secret_goes_nowhere_else(url):
    assert not keeps_secrets(url)
