"""An API server of Kubernetes, as far as tokens and permissions go.

It applies what `runbooks identity show kubernetes` prints, and answers in Kubernetes' own words.

Tokens are verified as its OpenID authenticator does: the issuer's published keys, audience, rules of claims; then RBAC
is asked. https://kubernetes.io/docs/reference/access-authn-authz/authentication/, …/rbac/
"""

from __future__ import annotations

import contextlib
import json
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from credentials.trusting import NotTrustedError, Trust
from kernels.gateway.servers import System, answer, body_of, http_server
from printed_policies import files

BUILT_IN = {
    "view": [
        {
            "apiGroups": [""],
            "resources": ["namespaces", "pods", "pods/log", "services"],
            "verbs": ["get", "list", "watch"],
        },
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list", "watch"]},
    ]
}
"""Parts of the roles that every cluster has. `view` shows no secrets."""

EVERYBODY = [
    {
        "apiGroups": ["authorization.k8s.io"],
        "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
        "verbs": ["create"],
    }
]
"""Of `system:basic-user`."""
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"

PATH = re.compile(
    r"/(?:api/v1|apis/(?P<group>[^/]+)/[^/]+)(?:/namespaces/[^/]+)?"
    r"/(?P<kind>[^/?]+)(?:/(?P<name>[^/?]+)(?:/(?P<part>[^/?]+))?)?(?:\?.*)?"
)
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True)
class Somebody:
    """Whom a token is for, to the cluster."""

    name: str
    groups: frozenset[str]


@dataclass
class Cluster:
    """A running one, which trusts and permits what the `printed` script says. `did` is what was let through."""

    printed: str
    port: int = 0
    namespaces: tuple[str, ...] = ("default", "shop")
    within: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Rules by namespace, which RoleBindings there give to everybody."""
    incomplete: bool = False
    did: list[tuple[str, str, str]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.authentication,) = files(self.printed)["authentication.yaml"]
        rbac = files(self.printed)["runbooks-rbac.yaml"]
        assert {one["kind"] for one in rbac} == {"ClusterRole", "ClusterRoleBinding"}
        self.roles = {one["metadata"]["name"]: one["rules"] for one in rbac if one["kind"] == "ClusterRole"} | BUILT_IN
        self.bindings = [one for one in rbac if one["kind"] == "ClusterRoleBinding"]

    def who(self, token: str) -> Somebody:
        """Whose token it is; raises `NotTrustedError`."""
        for one in self.authentication["jwt"]:
            claims = Trust(one["issuer"]["url"]).claims(token)
            if claims["aud"] not in one["issuer"]["audiences"]:
                raise NotTrustedError("the token is for another audience")
            for rule in one["claimValidationRules"]:
                self.validate(rule, claims)
            mappings = one["claimMappings"]
            named = {key: f"{of['prefix']}{claims[of['claim']]}" for key, of in mappings.items()}
            return Somebody(named["username"], frozenset({named["groups"], "system:authenticated"}))
        raise NotTrustedError("no issuer is trusted")

    def validate(self, rule: dict[str, str], claims: dict[str, Any]) -> None:
        """Hold claims against one rule; of CEL it knows what is printed."""
        if "claim" in rule:
            holds = claims.get(rule["claim"]) == rule["requiredValue"]
        else:
            listed = re.fullmatch(r"claims\.sub in (\[.*\])", rule["expression"])
            assert listed
            holds = claims["sub"] in json.loads(listed[1])
        if not holds:
            raise NotTrustedError(rule.get("message", f"{rule.get('claim')} is another"))

    def may(self, somebody: Somebody, verb: str, group: str, resource: str) -> bool:
        """What RBAC says: nothing is denied, and only what is granted is allowed."""
        return any(
            verb in rule["verbs"] and group in rule["apiGroups"] and resource in rule["resources"]
            for binding in self.bindings
            for subject in binding["subjects"]
            if subject["kind"] == "Group" and subject["name"] in somebody.groups
            for rule in self.roles[binding["roleRef"]["name"]]
        )

    def review(self, somebody: Somebody, namespace: str) -> dict[str, Any]:
        """All that somebody may do in a namespace."""
        rules = [
            rule
            for binding in self.bindings
            for subject in binding["subjects"]
            if subject["name"] in somebody.groups
            for rule in self.roles[binding["roleRef"]["name"]]
        ]
        return {
            "resourceRules": [*EVERYBODY, *rules, *self.within.get(namespace, [])],
            "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/version"]}],
            "incomplete": self.incomplete,
        }

    def serve(self, handler: Any, _: System) -> None:
        """Answer one request."""
        body = body_of(handler)
        token = handler.headers.get("Authorization", "").removeprefix("Bearer ")
        self.tokens.append(token)
        asked = PATH.fullmatch(handler.path)
        try:
            somebody = self.who(token)
        except NotTrustedError as error:
            self.say(handler, 401, "Unauthorized", str(error))
            return
        if (handler.command, handler.path) == ("POST", REVIEWS):
            review = json.loads(body)
            self.say(handler, 201, "", "", **review, status=self.review(somebody, review["spec"]["namespace"]))
            return
        if asked is None:
            self.say(handler, 404, "NotFound", handler.path)
            return
        group, resource = asked["group"] or "", "/".join(filter(None, (asked["kind"], asked["part"])))
        verb = VERBS.get(handler.command) or ("get" if asked["name"] else "list")
        if not self.may(somebody, verb, group, resource):
            words = f'User "{somebody.name}" cannot {verb} resource "{resource}" in API group "{group}"'
            self.say(handler, 403, "Forbidden", words)
            return
        self.did.append((somebody.name, verb, resource))
        names = self.namespaces if resource == "namespaces" else ("orders-7f9c",)
        self.say(handler, 200, "", "", kind="List", items=[{"metadata": {"name": name}} for name in names])

    def say(self, handler: Any, code: int, reason: str, message: str, **more: Any) -> None:
        """A Status, or what was asked for."""
        told = {"kind": "Status", "apiVersion": "v1", "code": code, "reason": reason, "message": message} | more
        answer(handler, json.dumps(told).encode(), code, Content_Type="application/json")


@contextlib.contextmanager
def cluster(printed: str, tls: ssl.SSLContext | None = None) -> Iterator[Cluster]:
    """An API server; with `tls` it speaks that alone, as real ones do."""
    found = Cluster(printed)
    with http_server(found.serve, tls) as system:
        found.port = system.port
        yield found
