"""AWS: moto's server does the work, and what moto does not check is checked in front of it, over real HTTP.

STS gives a session only to a run token that its issuer's keys verify and that the role's trust policy allows, exactly
as that policy stands. Every other request must be signed by a session that goes on: the signature is computed here from
AWS's description of it, by no code of botocore's.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import hmac
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, quote, unquote, unquote_plus, urlsplit
from xml.etree import ElementTree as ET

import httpx
from credentials.trusting import NotTrustedError, Trust
from kernels.gateway.servers import HOST, answer, body_of, http_server
from moto.server import ThreadedMotoServer
from printed_policies import commands, files

ACCOUNT = "111122223333"
ERROR = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>
<Code>{code}</Code><Message>{message}</Message></Error><RequestId>0</RequestId></ErrorResponse>"""


OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda given, wanted: given == wanted,
    "StringLike": fnmatch.fnmatchcase,
}


class DeniedError(Exception):
    """What AWS answers with: status, code, message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status, self.code, self.message = status, code, message
        super().__init__(code)


@dataclass
class Session:
    """One that STS gave."""

    role: str
    secret: str
    token: str
    ends: float
    policy: str
    name: str


@dataclass
class Aws:
    """A running one: `trusts` are trust policies by role ARN, `audiences` those that the account's provider takes."""

    port: int
    trust: Trust
    trusts: dict[str, dict[str, Any]] = field(default_factory=dict)
    audiences: tuple[str, ...] = ()
    sessions: dict[str, Session] = field(default_factory=dict)
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path and role of each request that was let in."""
    spell: Callable[[], tuple[int, bytes] | None] = lambda: None
    """Answers in the place of STS."""
    ahead: float = 0.0

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def paste(self, printed: str) -> None:
        """Do what a pasted script of `aws iam` commands does."""
        written = files(printed)
        for command in commands(printed):
            match command:
                case ["aws", "iam", "create-open-id-connect-provider", "--url", url, "--client-id-list", *audiences]:
                    assert url == self.trust.issuer
                    self.audiences = tuple(audiences)
                case ["aws", "iam", "create-role", "--role-name", name, "--assume-role-policy-document", document]:
                    self.trusts[f"arn:aws:iam::{ACCOUNT}:role/{name}"] = written[document.removeprefix("file://")]
                case _:
                    raise AssertionError(f"no command of AWS's: {command}")

    def now(self) -> float:
        return time.time() + self.ahead

    def assume(self, asked: dict[str, str], forward: Callable[[], httpx.Response]) -> bytes:
        """AssumeRoleWithWebIdentity: what IAM would hold it to, then moto."""
        role = asked["RoleArn"]
        try:
            claims = self.trust.claims(asked["WebIdentityToken"])
        except NotTrustedError as error:
            code = "ExpiredTokenException" if "expired" in str(error) else "InvalidIdentityToken"
            raise DeniedError(400, code, str(error)) from None
        if claims["aud"] not in self.audiences:
            raise DeniedError(400, "InvalidIdentityToken", "Incorrect token audience")
        tagged = ["sts:TagSession"] if "https://aws.amazon.com/tags" in claims else []
        if not all(self.allows(role, action, claims) for action in ("sts:AssumeRoleWithWebIdentity", *tagged)):
            raise DeniedError(403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
        if not 900 <= int(asked["DurationSeconds"]) <= 43200 or len(asked.get("Policy", "")) > 2048:
            raise DeniedError(400, "ValidationError", "1 validation error detected")
        answered = forward().raise_for_status().content
        tree = ET.fromstring(answered)  # noqa: S314  it is moto's
        found = {element.tag.rpartition("}")[2]: element.text for element in tree.iter()}
        ends = self.now() + int(asked["DurationSeconds"])
        secret, token, name = found["SecretAccessKey"], found["SessionToken"], asked["RoleSessionName"]
        self.sessions[found["AccessKeyId"]] = Session(role, secret, token, ends, asked.get("Policy", ""), name)
        return answered

    def allows(self, role: str, action: str, claims: dict[str, Any]) -> bool:
        """Whether a statement of the role's trust policy lets these claims do this. Unknown means no."""
        prefix = self.trust.issuer.partition("://")[2]
        for statement in self.trusts.get(role, {"Statement": []})["Statement"]:
            assert statement["Effect"] == "Allow"
            assert statement["Principal"] == {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{prefix}"}
            given = {f"{prefix}:{name}": claims[name] for name in ("aud", "sub")}  # AWS knows no other claims
            held = [
                any(OPERATORS[operator](given[key], value) for value in listed(values))
                for operator, condition in statement["Condition"].items()
                for key, values in condition.items()
            ]
            if action in listed(statement["Action"]) and held and all(held):
                return True
        return False

    def judge(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> Session:
        """The session that signed this; anything else is refused with AWS's own codes."""
        given: dict[str, list[str]] = {}
        for name, value in headers:
            given.setdefault(name.lower(), []).append(" ".join(value.split()))
        scheme, _, rest = given.get("authorization", [""])[0].partition(" ")
        if scheme != "AWS4-HMAC-SHA256":
            raise DeniedError(403, "MissingAuthenticationToken", "Request is missing Authentication Token")
        parts = dict(part.strip().split("=", 1) for part in rest.split(","))
        key_id, *scope = parts["Credential"].split("/")
        session = self.sessions.get(key_id)
        if session is None or given.get("x-amz-security-token") != [session.token]:
            raise DeniedError(403, "InvalidClientTokenId", "The security token included in the request is invalid")
        if session.ends <= self.now():
            raise DeniedError(403, "ExpiredToken", "The security token included in the request is expired")
        (date,) = given["x-amz-date"]
        signed_at = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        if abs(signed_at - self.now()) > 300:
            raise DeniedError(403, "SignatureDoesNotMatch", f"Signature not yet current or expired: {date}")
        signed = parts["SignedHeaders"].split(";")
        unsigned = [name for name in given if name.startswith("x-amz-") and name not in signed]
        if unsigned or "host" not in signed:
            raise DeniedError(403, "AccessDenied", f"There were headers present which were not signed: {unsigned}")
        hashed = hashlib.sha256(body).hexdigest()
        if given.get("x-amz-content-sha256", [hashed]) != [hashed]:
            raise DeniedError(400, "XAmzContentSHA256Mismatch", "The provided hash does not match what was computed")
        path, _, query = target.partition("?")
        # S3 encodes the key anew; every other service encodes what came once more.
        canonical = quote(unquote(path) if scope[2] == "s3" else path, safe="/-_.~")
        lines = [method, canonical, canonical_query(query)]
        lines += [*(f"{name}:{','.join(given[name])}" for name in signed), "", ";".join(signed), hashed]
        text = "\n".join(
            ["AWS4-HMAC-SHA256", date, "/".join(scope), hashlib.sha256("\n".join(lines).encode()).hexdigest()]
        )
        key = f"AWS4{session.secret}".encode()
        for part in scope:
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        if date[:8] != scope[0] or not hmac.compare_digest(
            hmac.new(key, text.encode(), hashlib.sha256).hexdigest(), parts["Signature"]
        ):
            raise DeniedError(403, "SignatureDoesNotMatch", "The request signature we calculated does not match")
        return session


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def canonical_query(query: str) -> str:
    """Parameters by name and value, each letter encoded that is not unreserved; a plus is a space."""
    pairs = [pair.partition("=")[::2] for pair in query.split("&") if pair]
    encoded = sorted(
        (quote(unquote_plus(name), safe="-_.~"), quote(unquote_plus(value), safe="-_.~")) for name, value in pairs
    )
    return "&".join(f"{name}={value}" for name, value in encoded)


@contextlib.contextmanager
def aws_server(issuer: str, **configured: Any) -> Iterator[Aws]:
    """AWS in which this issuer is known."""
    moto = ThreadedMotoServer(ip_address=HOST, port=0, verbose=False)
    moto.start()
    behind = "http://{}:{}".format(*moto.get_host_and_port())

    def serve(handler: Any, _: Any) -> None:
        body = body_of(handler)

        def forward() -> httpx.Response:
            headers = {name: value for name, value in handler.headers.items() if name.lower() != "accept-encoding"}
            return client.request(handler.command, behind + handler.path, content=body, headers=headers)

        try:
            form = {name: values[0] for name, values in parse_qs(body.decode("latin-1")).items()}
            if form.get("Action") == "AssumeRoleWithWebIdentity":
                if spelled := aws.spell():
                    answer(handler, spelled[1], spelled[0])
                else:
                    answer(handler, aws.assume(form, forward), Content_Type="text/xml")
                return
            session = aws.judge(handler.command, handler.path, handler.headers.items(), body)
            aws.seen.append((handler.command, unquote(urlsplit(handler.path).path), session.role))
            answered = forward()
            answer(handler, answered.content, answered.status_code)
        except DeniedError as error:
            said = ERROR.format(code=error.code, message=error.message)
            answer(handler, said.encode(), error.status, Content_Type="text/xml")

    try:
        with httpx.Client(trust_env=False) as client, http_server(serve) as system:
            trust = Trust(issuer)
            aws = Aws(system.port, trust, **configured)
            trust.clock = aws.now
            yield aws
    finally:
        moto.stop()
