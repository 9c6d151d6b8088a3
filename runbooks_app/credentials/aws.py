"""`aws`: a session of an IAM role for this stage (STS AssumeRoleWithWebIdentity), whose key signs each request.

The role trusts the run token: its trust policy pins `aud` and `sub`, which names the stage. A session policy narrows
what the role may, and adds nothing. Session tags travel in the run token itself (https://aws.amazon.com/tags).
The session's key stays in the worker, whose gateway signs by it (`signing.py`).

AWS takes no session back. It ends by itself a quarter of an hour after it began, which is the shortest that there is; a
stage that takes longer is given another one.
https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Self
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

from botocore.credentials import Credentials

from runbooks_app.asking import Answer, ask, told
from runbooks_app.core.errors import Misconfigured, RunbooksError, Unavailable
from runbooks_app.credentials.provider import Credential, Endpoint, EndsByItself, Purpose
from runbooks_app.credentials.signing import sign
from runbooks_app.credentials.tokens import InUse, run_token

LASTS = 900
"""Seconds of a session: the least that STS gives."""

TELLTALE = 64
"""Characters of a session's token that answers are searched for: all of it, in every form, takes too long."""

MOST_POLICY = 2048
"""Characters of a session policy that STS takes."""

MOST_SKEW = 300
"""Seconds that a clock may be wrong before AWS believes no signature of it."""

MENDS = {
    "AccessDenied": "Compare the role's trust policy with what `runbooks identity show aws` prints.",
    "InvalidIdentityToken": "Set up the identity provider that `runbooks identity show aws` prints in that account.",
    "IDPCommunicationError": "Let AWS read this service's /.well-known/openid-configuration and jwks.json.",
    "ExpiredTokenException": "Set this worker's clock by NTP.",
    "MalformedPolicyDocument": "Mend the file named by session_policy_file.",
    "PackedPolicyTooLarge": "Shorten the file named by session_policy_file.",
    "RegionDisabledException": "Activate STS in that region, or name another by sts_url.",
}
"""By STS's code of an error."""

NOTE = "AWS takes no session back: it ends by itself 15 min after it began."


@dataclass(frozen=True)
class Session:
    """A session of the role: what signs, and as whom AWS's own logs know it."""

    key: Credentials = field(repr=False)
    arn: str
    seconds: float = LASTS
    """As asked for: STS tells its end by a clock of its own."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The key, and of its token, which has a thousand characters or more, what nobody can do without."""
        return self.key.secret_key, self.key.token[-TELLTALE:]


@dataclass(frozen=True)
class Aws(EndsByItself):
    """Assumes `role_arn` by a run token for `audience`, to sign for `service` in `region`."""

    role_arn: str
    region: str
    service: str
    audience: str
    sts_url: str
    session_policy_file: str = ""

    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> Self:
        """Build it from the options of the connections file."""
        return cls(**options)

    def mint(self, connection: Endpoint, purpose: Purpose) -> Credential:
        """Begin a session; for as long as the credential is used another one follows before it ends."""
        name = f"{purpose.stage}-{purpose.run_id}-{secrets.token_hex(4)}"
        session = InUse(
            partial(self._session, connection, purpose, name),
            partial(purpose.renewed, name) if purpose.renewed else None,
        )
        return Credential(
            identity=name,
            secret=session.held.key.secret_key,
            expires_at=datetime.now(UTC) + timedelta(seconds=LASTS),
            note=NOTE,
            scope=session.held.arn,
            authorize=lambda sent: sign(session.now().key, self.service, self.region, sent),
            signs_body=True,
            secrets=session.secrets,
        )

    def revoke(self, connection: Endpoint, identity: str) -> bool:  # noqa: ARG002  others need them
        """Nothing but time ends a session."""
        return False

    def _session(self, connection: Endpoint, purpose: Purpose, name: str) -> Session:
        """Ask STS for one; AWS's own logs show the name."""
        token = run_token(connection, purpose, self.audience)
        asked = {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "RoleArn": self.role_arn,
            "RoleSessionName": name,
            "WebIdentityToken": token,
            "DurationSeconds": str(LASTS),
        }
        if self.session_policy_file:
            asked["Policy"] = self._policy(connection)
        answer = ask(
            self._at(connection),
            "POST",
            self.sts_url,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            content=urlencode(asked).encode(),
        )
        found = _words(answer.body)
        if answer.status != HTTPStatus.OK:
            raise self._refused(connection, answer, found, token)
        parts = [found.get(name, "") for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")]
        if not all(part and part.isascii() and part.isprintable() for part in parts):
            raise Unavailable(f"{self._at(connection)} answered without a session. Check that sts_url is STS.")
        if answer.ahead is not None and abs(answer.ahead) > MOST_SKEW:
            raise Misconfigured(f"{self._at(connection)} would believe no signature of this worker.{answer.clocks}")
        return Session(Credentials(*parts), found.get("Arn", self.role_arn))

    def _policy(self, connection: Endpoint) -> str:
        """The session policy as short as it can be written."""
        path = self.session_policy_file
        try:
            policy = json.dumps(json.loads(Path(path).read_text(encoding="utf-8")), separators=(",", ":"))
        except (OSError, ValueError, RecursionError) as error:
            why = getattr(error, "strerror", None) or "it is no JSON"
            raise Misconfigured(f"{connection.name}: the session policy {path} cannot be used: {why}.") from None
        if len(policy) > MOST_POLICY:
            raise Misconfigured(
                f"{connection.name}: the session policy {path} has {len(policy)} characters, and AWS takes "
                f"{MOST_POLICY}. Shorten it, or move parts of it to the role's own policy."
            )
        return policy

    def _at(self, connection: Endpoint) -> str:
        return f"{connection.name} (STS at {self.sts_url})"

    def _refused(self, connection: Endpoint, answer: Answer, found: Mapping[str, str], run_token: str) -> RunbooksError:
        """The error for an answer that is no session."""
        code = told(found.get("Code", ""), run_token)
        said = ": ".join(filter(None, [code, told(found.get("Message", ""), run_token)])) or "it did not say why"
        what = f"{self._at(connection)} gave no session of {self.role_arn} ({answer.status}): {said}."
        mend = MENDS.get(code)
        if mend is None and (answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or "Throttl" in code):
            return Unavailable(f"{what} Try again.")
        return Misconfigured(f"{what}{answer.clocks} {mend or 'Check role_arn, region and sts_url.'}")


def _words(body: bytes) -> dict[str, str]:
    """The texts of an answer by the names of their elements; none where it is no XML."""
    try:
        tree = ET.fromstring(body)  # noqa: S314  bounded in size, and expat bounds what entities grow to
    except (ET.ParseError, LookupError, ValueError):
        return {}
    return {element.tag.rpartition("}")[2]: (element.text or "").strip() for element in tree.iter()}
