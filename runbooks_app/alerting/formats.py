"""What the sources send, as alerts: Alertmanager's webhook, Grafana's, PagerDuty's (v3), and anybody's JSON.

    alertmanager  {"version": "4", "groupKey", "truncatedAlerts", "alerts": [{"status", "labels", "annotations",
                  "startsAt", "endsAt", "generatorURL", "fingerprint"}]}
    grafana       the same
    pagerduty     {"event": {"id", "event_type": "incident.triggered", "occurred_at", "data": {…}}}
    json          {"group": "…", "alerts": [{"status": "firing", "labels": {…}, "annotations": {…}, "starts_at",
                  "ends_at", "link", "fingerprint"}]}; labels and `starts_at` must be there:
                  what began at the same time is a repetition

All of it is untrusted: what is too long is cut, what no database can keep is taken out, what is no alert is refused.

https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
https://developer.pagerduty.com/docs/webhooks-overview
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from runbooks_app.core.addresses import http_address
from runbooks_app.core.alerts import FIRING, RESOLVED, SERVICE, Incoming
from runbooks_app.core.audit import canonical
from runbooks_app.core.errors import InvalidInput, Problem

MOST_ALERTS = 500
MOST_LABELS = 64
LONGEST = 1_000
"""Characters of a label, of what it says, and of every other text."""
LONGEST_KEY = 200


@dataclass(frozen=True)
class Delivery:
    """The alerts of one delivery, and how many were cut off here or by the sender."""

    alerts: tuple[Incoming, ...]
    cut: int = 0


def _text(value: Any) -> Any:
    if isinstance(value, bool | int | float):
        value = json.dumps(value)
    if not isinstance(value, str):
        return value
    # Half of a surrogate pair and NUL are what JSON can say and PostgreSQL cannot keep.
    return value[:LONGEST].replace("\x00", "").encode("utf-8", "replace").decode()


def _key(value: Any) -> Any:
    """What tells things apart; a long one by its digest, since no index takes it."""
    if isinstance(value, str) and len(value) > LONGEST_KEY:
        return hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()
    return _text(value)


def _labels(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return {} if value is None else value
    return {_text(name): _text(said) for name, said in list(value.items())[:MOST_LABELS] if said is not None}


def _moment(value: Any) -> Any:
    """A time with a zone; the year 1 is how Go says that there is none."""
    if value is None or (isinstance(value, str) and (not value or value.startswith("0001-"))):
        return None
    try:
        found = datetime.fromisoformat(value)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError("is no time like 2026-01-31T03:12:00Z") from error


def _link(value: Any) -> Any:
    """An address that a page may link to, else none."""
    return value[:LONGEST] if isinstance(value, str) and value.isprintable() and http_address(value) else ""


Text = Annotated[str, BeforeValidator(_text)]
Key = Annotated[str, BeforeValidator(_key)]
Labels = Annotated[dict[str, str], BeforeValidator(_labels)]
Moment = Annotated[datetime | None, BeforeValidator(_moment)]
Instant = Annotated[datetime, BeforeValidator(_moment)]
Link = Annotated[str, BeforeValidator(_link)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=to_camel, populate_by_name=True)


class _Alert(_Model):
    status: Literal["firing", "resolved"] = "firing"
    labels: Labels
    annotations: Labels = {}
    starts_at: Instant
    ends_at: Moment = None
    link: Link = Field("", alias="generatorURL")
    fingerprint: Key = ""


class _Webhook(_Model):
    group: Key = Field("", alias="groupKey")
    truncated: int = Field(0, alias="truncatedAlerts", ge=0, le=2**31)
    alerts: list[_Alert]


class _Named(_Model):
    model_config = ConfigDict(alias_generator=None)
    id: Text = ""
    summary: Text = ""


class _Data(_Model):
    model_config = ConfigDict(alias_generator=None)
    id: Key = Field(min_length=1)
    title: Text = ""
    html_url: Link = ""
    incident_key: Key | None = None
    created_at: Moment = None
    urgency: Text | None = None
    service: _Named = _Named()


class _Event(_Model):
    model_config = ConfigDict(alias_generator=None)
    id: Key = Field(min_length=1)
    event_type: Text
    occurred_at: Instant
    data: dict[str, Any] | None = None


class _PagerDuty(_Model):
    event: _Event


def read(kind: str, source: str, body: bytes) -> Delivery:
    """The alerts of a proven delivery of this kind. Raises `InvalidInput` for what is none."""
    try:
        told = json.loads(body)
        return _READERS[kind](source, told)
    except ValidationError as error:
        problems = tuple(Problem(".".join(map(str, e["loc"])), e["msg"]) for e in error.errors()[:5])
        raise InvalidInput(f"This is no delivery of {kind}.", problems=problems) from None
    except (ValueError, RecursionError):
        raise InvalidInput(f"This is no delivery of {kind}: it is no JSON.") from None


def _webhook(source: str, told: Any) -> Delivery:
    cut = 0
    if isinstance(told, dict) and isinstance(told.get("alerts"), list):
        # Before anything is read of them: ten thousand may come at once.
        cut = max(0, len(told["alerts"]) - MOST_ALERTS)
        told = {**told, "alerts": told["alerts"][:MOST_ALERTS]}
    found = _Webhook.model_validate(told)
    alerts = []
    for alert in found.alerts:
        fingerprint = alert.fingerprint or _digest(alert.labels)
        alerts.append(
            Incoming(
                source=source,
                fingerprint=fingerprint,
                status=alert.status,
                labels=alert.labels,
                annotations=alert.annotations,
                starts_at=alert.starts_at,
                ends_at=alert.ends_at if alert.status == RESOLVED else None,
                group_key=found.group or fingerprint,
                link=alert.link,
            )
        )
    return Delivery(tuple(alerts), cut + found.truncated)


_PAGERDUTY = {"incident.triggered": FIRING, "incident.reopened": FIRING, "incident.resolved": RESOLVED}
"""What is done about events; all others (acknowledged, reassigned, the ping of its test button) say nothing to us."""


def _pagerduty(source: str, told: Any) -> Delivery:
    event = _PagerDuty.model_validate(told).event
    status = _PAGERDUTY.get(event.event_type)
    if status is None:
        return Delivery(())
    data = _Data.model_validate(event.data)
    at = event.occurred_at
    labels = {"alertname": data.title, SERVICE: data.service.summary, "urgency": data.urgency or ""}
    # Its incidents are new each time the same thing happens; what they are about stays.
    about = data.incident_key or _key(f"{data.service.id}:{data.title}")
    incoming = Incoming(
        source=source,
        fingerprint=data.id,
        status=status,
        labels={name: said for name, said in labels.items() if said},
        annotations={},
        starts_at=at if event.event_type == "incident.reopened" else data.created_at or at,
        ends_at=at if status == RESOLVED else None,
        group_key=about,
        link=data.html_url,
        event_id=event.id,
    )
    return Delivery((incoming,))


def _digest(labels: Mapping[str, str]) -> str:
    return hashlib.sha256(canonical(dict(labels)).encode()).hexdigest()[:32]


_READERS: dict[str, Callable[[str, Any], Delivery]] = {
    "alertmanager": _webhook,
    "grafana": _webhook,
    "pagerduty": _pagerduty,
    "json": _webhook,
}
