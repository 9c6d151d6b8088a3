"""PagerDuty: pages by the Events API v2, schedules by the REST API.

https://developer.pagerduty.com/docs/events-api-v2/trigger-events/: a routing key in the body and no header; `summary`
of at most 1,024 characters, `dedup_key` of 255; 202 once it is taken. A resolve of what is not open is ignored.
https://developer.pagerduty.com/api-reference/3a6b910f11050-list-all-of-the-on-calls: those of this moment, where no
time is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from runbooks_app.core.errors import Unavailable
from runbooks_app.oncall.groups import PagingService
from runbooks_app.oncall.pagers import Page, Place, addresses, clip, secret_of


@dataclass(frozen=True)
class PagerDuty:
    """One routing key, or one token that reads schedules, or both."""

    service: PagingService

    def who(self, schedule: str) -> frozenset[str]:
        """Those whom this schedule has on call just now."""
        asked = urlencode([("schedule_ids[]", schedule), ("include[]", "users"), ("earliest", "true")])
        answer = Place(self.service, "Token token=").ask(
            "GET",
            f"{self.service.url}/oncalls?{asked}",
            secret_of(self.service, "token_file"),
            Accept="application/vnd.pagerduty+json;version=2",
        )
        shifts = answer.object().get("oncalls")
        if not isinstance(shifts, list):
            raise Unavailable(f"{self.service.name} answers, but not with who is on call.")
        users = [shift.get("user") for shift in shifts if isinstance(shift, dict)]
        return addresses([user.get("email") for user in users if isinstance(user, dict)])

    def page(self, key: str, page: Page) -> None:
        """Trigger an alert."""
        self._enqueue(
            {
                "event_action": "trigger",
                "dedup_key": key[:255],
                "payload": {
                    "summary": clip(page.summary, 1024),
                    "source": clip(page.source, 255),
                    "severity": "critical" if page.urgent else "warning",
                    "custom_details": dict(page.details),
                },
                "links": [{"href": page.link, "text": "Look at it and decide"}],
                "client": "Runbooks",
                "client_url": page.link,
            }
        )

    def resolve(self, key: str) -> None:
        """Resolve it."""
        self._enqueue({"event_action": "resolve", "dedup_key": key[:255]})

    def _enqueue(self, event: Mapping[str, Any]) -> None:
        key = secret_of(self.service, "routing_key_file")
        url = f"{self.service.events_url}/v2/enqueue"
        answer = Place(self.service).ask("POST", url, key, {"routing_key": key, **event})
        if answer.status != HTTPStatus.ACCEPTED or answer.object().get("status") != "success":
            raise Unavailable(f"{self.service.name} answers {answer.status}, but not that it took the event.")
