"""Whom rate limits count, behind proxies and without."""

from __future__ import annotations

from dataclasses import replace

import pytest
from flask import jsonify, request

from runbooks_app.web.app import create_app
from runbooks_app.web.guards import open_to_all
from runbooks_app.web.limits import whose

pytestmark = pytest.mark.chat

FORGED = {
    "X-Forwarded-For": "192.0.2.6, 198.51.100.5, 203.0.113.7",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Prefix": "/evil",
}


@pytest.mark.parametrize(("proxies", "counted"), [(0, "127.0.0.1"), (1, "203.0.113.7"), (2, "198.51.100.5")])
def test_limits_go_by_what_the_nearest_trusted_proxies_tell_and_nothing_else_is_believed(service, proxies, counted):
    settings = service.settings.model_copy(update={"trusted_proxies": proxies})
    app = create_app(replace(service, settings=settings), secret_key=b"a key for tests, and for nothing else")

    @app.get("/told")
    @open_to_all
    def told():
        return jsonify(whose=whose(), url=request.url)

    answer = app.test_client().get("/told", headers=FORGED).json
    assert answer == {"whose": counted, "url": "http://localhost/told"}
