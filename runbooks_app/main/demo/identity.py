"""`python -m runbooks_app.main.demo.identity`: the demo's sign-in page, with the people of the story.

It signs anybody in without a password: for a demo on loopback, and no proof of anything.
"""

from __future__ import annotations

import argparse
import os
import warnings

from werkzeug.serving import WSGIRequestHandler, make_server

# Both are about packages that oidc-provider-mock stands on; nothing to be done about them here.
warnings.filterwarnings("ignore", message="authlib.jose module is deprecated")
warnings.filterwarnings("ignore", message="The httpx module is deprecated")

PEOPLE: dict[str, dict[str, object]] = {
    "ana": {"name": "Ana (on call)", "email": "ana@example.com", "groups": ["sre"]},
    "ben": {"name": "Ben (database approver)", "email": "ben@example.com", "groups": ["dba"]},
    "vera": {"name": "Vera (viewer)", "email": "vera@example.com", "groups": ["staff"]},
    "otto": {"name": "Otto (auditor)", "email": "otto@example.com", "groups": ["audit"]},
}

ROLES = {
    "sre": ["responder", "approver:sre", "break-glass"],
    "dba": ["responder", "approver:database"],
    "staff": ["viewer"],
    "audit": ["auditor"],
}


class _Quiet(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing: the demo prints its own lines."""


def main() -> None:
    """Serve until stopped."""
    import oidc_provider_mock  # noqa: PLC0415 -- after the filters above

    parser = argparse.ArgumentParser(description="The demo's sign-in page.")
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    # The provider is a mock for tests on http.
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
    people = [oidc_provider_mock.User(sub=sub, claims=claims) for sub, claims in PEOPLE.items()]
    server = make_server(
        "127.0.0.1", port, oidc_provider_mock.app(user_claims=people), threaded=True, request_handler=_Quiet
    )
    server.serve_forever()


if __name__ == "__main__":
    main()
