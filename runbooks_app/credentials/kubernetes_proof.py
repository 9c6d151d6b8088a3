"""What a run token may change in a cluster, asked of the cluster itself: SelfSubjectRulesReview, by namespace.

It lists the rules that RBAC has for whoever asks, those that hold in the whole cluster among them.
https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/self-subject-rules-review-v1/
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from runbooks_app.asking import Answer, ask, told
from runbooks_app.core.errors import Unavailable
from runbooks_app.core.http_rules import Rule
from runbooks_app.core.outgoing import Outgoing
from runbooks_app.credentials.findings import Found
from runbooks_app.credentials.provider import Credential

READING = frozenset({"get", "list", "watch"})
BY_READING = frozenset({"exec", "attach", "portforward", "proxy"})
"""Parts of a resource where `get` is enough to do something."""
ASKING = frozenset({"selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"})
"""What everybody may `create`: questions about oneself, which nothing keeps."""
MOST_NAMESPACES = 20
ALL_WITHIN, ONE_WITHIN = 30.0, 5.0
"""Seconds for everything, and for one question."""


@dataclass(frozen=True)
class Cluster:
    """An API server as somebody who holds this credential sees it."""

    name: str
    url: str
    ca_file: str
    credential: Credential

    def ask(self, method: str, path: str, sent: Mapping[str, Any] | None = None) -> Answer:
        """One request; raises `Unavailable` where there is no answer."""
        url = f"{self.url.rstrip('/')}{path}"
        body = b"" if sent is None else json.dumps(sent).encode()
        given = self.credential.authorize(Outgoing(method, url, body=body)) if self.credential.authorize else {}
        headers = {"Content-Type": "application/json", "Accept": "application/json", **given}
        place = f"{self.name} ({self.url})"
        return ask(place, method, url, headers=headers, content=body, ca_file=self.ca_file, within=ONE_WITHIN)

    def namespaces(self) -> list[str] | None:
        """Names of all; None where they may not be listed."""
        answer = self.ask("GET", "/api/v1/namespaces")
        items = answer.object().get("items")
        if answer.status != HTTPStatus.OK or not isinstance(items, list):
            return None
        return sorted(str(_part(_part(item), "metadata").get("name", "")) for item in items)

    def rules(self, namespace: str) -> Mapping[str, Any]:
        """What this credential may do there; raises `Unavailable` where the cluster does not say."""
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": namespace},
        }
        answer = self.ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", review)
        if answer.status != HTTPStatus.CREATED:
            said = told(str(answer.object().get("message", "")), self.credential.secret)
            raise Unavailable(
                f"{self.name} ({self.url}) does not say what a run token may do there ({answer.status}): "
                f"{said or 'without a word'}. Compare it with what `runbooks identity show kubernetes` prints."
            )
        return _part(answer.object(), "status")


def examine(cluster: Cluster, rules: Sequence[Rule]) -> Found:
    """Look through what this credential may do; `rules` are what the gateway lets through."""
    found = Found()
    all_of_them = cluster.namespaces()
    asked = all_of_them if all_of_them is not None else _named(rules)
    writes: dict[str, list[str]] = {}
    doubts: dict[str, list[str]] = {}
    reads, ends, done = False, time.monotonic() + ALL_WITHIN, 0
    for namespace in asked[:MOST_NAMESPACES]:
        if time.monotonic() > ends:
            break
        done += 1
        status = cluster.rules(namespace)
        for rule in _list(status, "resourceRules"):
            verbs, resources = set(_texts(rule, "verbs")), _texts(rule, "resources")
            if changing := _changing(verbs, resources):
                writes.setdefault(f"{', '.join(changing)} on {', '.join(resources)}", []).append(namespace)
            elif "*" in resources:
                doubts.setdefault(
                    "it reads all there is: secrets too, and commands run by reading (pods/exec)", []
                ).append(namespace)
            reads = reads or bool(verbs & READING)
        for rule in _list(status, "nonResourceRules"):
            if changing := sorted(set(_texts(rule, "verbs")) - {*READING, "head", "options"}):
                places = ", ".join(_texts(rule, "nonResourceURLs"))
                writes.setdefault(f"{', '.join(changing)} on {places}", []).append(namespace)
        if status.get("incomplete"):
            doubts.setdefault("the cluster says that its answer is not complete", []).append(namespace)
    found.writes = [_where(what, places, done) for what, places in sorted(writes.items())]
    found.doubtful = [_where(what, places, done) for what, places in sorted(doubts.items())]
    if all_of_them is None and any(not _one_namespace(rule) for rule in rules):
        found.doubtful.append("it may not list the namespaces, and its rules let it into all of them")
    if done < len(asked):
        found.doubtful.append(f"of {len(asked)} namespaces {done} were asked for")
    if not reads and not found.writes:
        found.doubtful.append("the cluster lets this run token read nothing, so it is not bound to a role")
    found.tried.append(f"every rule that the cluster has for it in: {', '.join(asked[:done])}")
    return found


def _changing(verbs: set[str], resources: list[str]) -> list[str]:
    """The verbs among these that change something."""
    if verbs <= {"create"} and ASKING.issuperset(resources):
        return []
    parts = {resource.partition("/")[2] for resource in resources}
    return sorted(verbs - READING) or (sorted(verbs) if parts & BY_READING else [])


def _where(what: str, places: list[str], asked: int) -> str:
    """What was found, and where, unless it was everywhere."""
    few = sorted(set(places))
    return f"{what} (namespace {', '.join(few)})" if len(few) < asked else what


def _one_namespace(rule: Rule) -> str:
    """The one namespace that a rule lets somebody into; empty where it lets into more."""
    parts = rule.path.split("/")
    at = parts.index("namespaces") + 1 if "namespaces" in parts else 0
    return parts[at] if 0 < at < len(parts) and parts[at] != "*" else ""


def _named(rules: Sequence[Rule]) -> list[str]:
    return sorted({"default", *filter(None, map(_one_namespace, rules))})


def _part(found: object, name: str = "") -> Mapping[str, Any]:
    part = found.get(name) if name and isinstance(found, Mapping) else found
    return part if isinstance(part, Mapping) else {}


def _list(found: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    value = found.get(name)
    return [_part(item) for item in value] if isinstance(value, list) else []


def _texts(found: Mapping[str, Any], name: str) -> list[str]:
    value = found.get(name)
    return [str(item) for item in value] if isinstance(value, list) else []
