"""AWS Signature Version 4 of one request, as it leaves the gateway. The canonical forms are botocore's.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import logging
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from runbooks_app.core.errors import Refused
from runbooks_app.core.outgoing import Outgoing

# It writes all that it signs into its debug log, the session's token included.
logging.getLogger("botocore.auth").setLevel(logging.INFO)

SIGNED = ("content-type", "content-md5", "range")
"""Headers that are signed, beside the host and those that begin with `x-amz-`: proxies may change others."""

OURS = frozenset(("authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"))
"""Headers that make up a signature. All are set here, so that none of a cell's own passes."""

SIGNATURES = frozenset(
    ("x-amz-algorithm", "x-amz-credential", "x-amz-signature", "x-amz-security-token", "awsaccesskeyid", "signature")
)
"""Query parameters of a URL that brings its own signature, maybe of a stranger's account to leave data in."""


def sign(key: Credentials, service: str, region: str, sent: Outgoing) -> dict[str, str]:
    """The headers that sign this request; `Refused` for one that is signed already."""
    parts = urlsplit(sent.url)
    # As services read it: `+` is a space. Each is then encoded anew, since signatures know one form of each letter.
    query = parse_qsl(parts.query, keep_blank_values=True)
    if any(name.lower() in SIGNATURES for name, _ in query):
        raise Refused("a URL with a signature of its own is refused: the gateway signs what it lets through.")
    # S3 decodes a key and encodes it anew, whatever form it came in; other services take the path as it came.
    path = quote(unquote(parts.path), safe="/-_.~") if service == "s3" else parts.path
    bare = urlunsplit(parts._replace(path=path, query=""))
    request = AWSRequest(sent.method, bare, data=sent.body, params=query)
    for name, value in sent.headers:
        lower = name.lower()
        if lower in SIGNED or (lower.startswith("x-amz-") and lower not in OURS):
            request.headers[name] = value  # one that is there already stays, too
    request.headers["X-Amz-Content-SHA256"] = hashlib.sha256(sent.body).hexdigest()
    signer = S3SigV4Auth if service == "s3" else SigV4Auth
    signer(key, service, region).add_auth(request)
    return {name: value for name, value in request.headers.items() if name.lower() in OURS}
