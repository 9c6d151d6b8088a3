"""Which headers pass the gateway. What the kernel sends names nobody; what comes back binds nobody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import urljoin, urlsplit

from runbooks_app.kernels.gateway.masking import Forms
from runbooks_app.kernels.gateway.route import NONCE_HEADER, TOLD_HEADER, Route

Headers = list[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings", "proxy-connection")
)
"""RFC 9110, 7.6.1, with the older ones: they are between two neighbours, and framing is made anew on each side."""

OURS = frozenset(("host", "content-length", "expect", NONCE_HEADER.lower(), TOLD_HEADER.lower()))
"""Made by the gateway for each side."""

WHO = frozenset(("authorization", "cookie", "cookie2", "forwarded", "via", "true-client-ip", "x-host"))
WHO_PREFIXES = (
    *("proxy-", "impersonate-", "remote-", "x-remote-", "x-forwarded-", "x-real-", "x-client-", "x-cluster-client-"),
    *("x-auth", "x-webauth-", "x-user", "x-email", "x-groups", "x-consumer-", "x-vouch-", "x-ssl-", "ssl-client-"),
    *("client-cert", "cf-", "tailscale-", "x-goog-authenticated-", "x-goog-iap-", "x-amzn-oidc-", "x-ms-client-"),
)
"""Who somebody is, as proxies in front of a system tell it: the system might believe the gateway's neighbour."""

OTHER_PREFIXES = ("x-http-", "x-method-", "x-original-", "x-rewrite-", "x-override-", "x-envoy-")
"""Some systems take method, path or host from them: they would make another request of the one that was judged."""

PARTS = frozenset(("range", "if-range"))
"""They ask for a part of an answer, and in parts of the credential nobody would see the credential."""


def onwards(headers: Iterable[tuple[bytes, bytes]], route: Route) -> Headers:
    """Headers of a kernel's request as they go to the system, before the credential."""
    given = list(headers)
    dropped = {*HOP_BY_HOP, *OURS, *WHO, *_named(given)}
    if route.authorize:
        # What is compressed could not be searched for the credential on its way back.
        dropped |= {"accept-encoding", *PARTS}
    kept = [
        (name, value)
        for name, value in given
        if _plain(name) not in dropped and not _plain(name).startswith(WHO_PREFIXES + OTHER_PREFIXES)
    ]
    if route.authorize:
        kept.append((b"accept-encoding", b"identity"))
    return [(b"host", route.authority.encode()), *kept]


def with_credential(headers: Headers, credential: Mapping[str, str]) -> Headers:
    """The same with the credential, whatever the kernel sent under its names."""
    names = {_plain(name) for name in credential}
    kept = [(name, value) for name, value in headers if _plain(name) not in names]
    return kept + [(name.encode(), value.encode()) for name, value in credential.items()]


def back(headers: Iterable[tuple[bytes, bytes]], route: Route, forms: Forms) -> Headers:
    """Headers of the system's answer as they go to the kernel: no cookies, no way to other hosts, no credential."""
    given = list(headers)
    dropped = {*HOP_BY_HOP, *_named(given), "set-cookie", "set-cookie2", "location", "alt-svc", TOLD_HEADER.lower()}
    kept = [(name, forms.cover(value)) for name, value in given if _plain(name) not in dropped]
    for name, value in given:
        if _plain(name) == "location" and (place := location(value.decode("latin-1"), route)):
            kept.append((name, forms.cover(place.encode("latin-1"))))
    return kept


def location(target: str, route: Route) -> str:
    """Where a redirect leads, as the kernel can reach it; empty where that is on another host or above the url.

    Relative ones are left alone: the kernel takes them from the address that it asked for.
    """
    try:
        parts = urlsplit(target)
        if not parts.scheme and not parts.netloc:
            if not target.startswith("/"):
                return target
            whole = parts
        else:
            whole = urlsplit(urljoin(route.origin + "/", target))
            port = whole.port or (443 if whole.scheme == "https" else 80)
            if (whole.scheme, whole.hostname, port) != (
                "https" if route.tls else "http",
                route.host.lower(),
                route.port,
            ):
                return ""
    except ValueError:
        return ""
    path = whole.path or "/"
    if not path.startswith(route.base + "/"):
        return ""
    return path[len(route.base) :] + (f"?{whole.query}" if whole.query else "")


def _plain(name: bytes | str) -> str:
    """A header's name as the loosest server reads it: some take `_` for `-`."""
    return (name.decode("latin-1") if isinstance(name, bytes) else name).lower().replace("_", "-")


def _named(headers: Headers) -> set[str]:
    """Names that the Connection header says are between neighbours, too."""
    return {
        part.strip().lower()
        for name, value in headers
        if _plain(name) == "connection"
        for part in value.decode("latin-1").split(",")
    }
