"""Opsgenie: alerts and schedules, by one API key.

https://docs.opsgenie.com/docs/alert-api: `message` of at most 130 characters, `alias` of 512, `description` of 15,000;
202 once it is taken. https://docs.opsgenie.com/docs/who-is-on-call-api: with `flat`, the user names of those on call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from runbooks_app.core.errors import Unavailable
from runbooks_app.oncall.groups import PagingService
from runbooks_app.oncall.pagers import Page, Place, addresses, clip, secret_of


@dataclass(frozen=True)
class Opsgenie:
    """One integration's API key."""

    service: PagingService

    def who(self, schedule: str) -> frozenset[str]:
        """Those whom this schedule has on call just now."""
        url = f"{self.service.url}/v2/schedules/{quote(schedule, safe='')}/on-calls?flat=true"
        found = self._place.ask("GET", url, secret_of(self.service, "token_file")).object().get("data")
        if not isinstance(found, dict) or not isinstance(found.get("onCallRecipients"), list):
            raise Unavailable(f"{self.service.name} answers, but not with who is on call.")
        return addresses(found["onCallRecipients"])

    def page(self, key: str, page: Page) -> None:
        """Make an alert."""
        alert: dict[str, Any] = {
            "message": clip(page.summary, 130),
            "alias": key[:512],
            "description": clip(page.summary, 10_000) + f"\n\nLook at it and decide: {page.link}",
            "details": {**page.details, "decide": page.link},
            "source": clip(page.source, 100),
            "priority": "P1" if page.urgent else "P3",
        }
        if self.service.team:
            alert["responders"] = [{"type": "team", "name": self.service.team}]
        self._send(f"{self.service.url}/v2/alerts", alert)

    def resolve(self, key: str) -> None:
        """Close it."""
        url = f"{self.service.url}/v2/alerts/{quote(key[:512], safe='')}/close?identifierType=alias"
        self._send(url, {"source": "Runbooks", "note": "It is decided, or can no longer be."})

    @property
    def _place(self) -> Place:
        return Place(self.service, "GenieKey ")

    def _send(self, url: str, sent: Mapping[str, Any]) -> None:
        answer = self._place.ask("POST", url, secret_of(self.service, "token_file"), sent)
        if answer.status != HTTPStatus.ACCEPTED or not answer.object().get("requestId"):
            raise Unavailable(f"{self.service.name} answers {answer.status}, but not that it took the alert.")
