"""Alerts as others send them: Alertmanager, Grafana, PagerDuty, and anybody with a secret.

A delivery is believed by its source's secret alone. What comes without one is refused in the same words whether there
is such a source or not. Senders try again after 5xx and give up after anything else, so that 200 means: it is written,
also where nothing was to be done; and there is no rate limit, whose 429 would lose alerts.
"""

from __future__ import annotations

import logging
import time

from flask import Blueprint, Response, jsonify, request

from runbooks_app.actions import alerting
from runbooks_app.alerting import formats, signatures
from runbooks_app.core.errors import InvalidInput
from runbooks_app.web.context import service, web
from runbooks_app.web.guards import signed_by_source

log = logging.getLogger(__name__)

blueprint = Blueprint("alerts", __name__, url_prefix="/alerts")

LARGEST = 16 * 1024 * 1024
"""Bytes of a delivery whose sender is proven before it is read. Alertmanager tells a group as a whole, and in a storm
that is thousands of alerts."""


@blueprint.post("/<source>")
@signed_by_source
def receive(source: str) -> Response:
    """Take a delivery."""
    known = service().alerting.sources.get(source)
    secrets = web().alert_secrets.get(source, ())
    if known is None or not secrets:
        raise signatures.Unproven
    delivery = ""
    if known.bearer:
        signatures.by_bearer(secrets, request.headers.get)
        request.max_content_length = LARGEST
    else:
        delivery = signatures.by_signature(known, secrets, request.headers.get, request.get_data(), now=time.time())
    try:
        found = formats.read(known.kind, source, request.get_data())
    except InvalidInput as error:
        log.warning("A delivery of alerts from %s was not taken: %s Nothing of it runs.", source, error)
        raise
    if found.alerts and found.alerts[0].event_id:
        delivery = found.alerts[0].event_id
    if found.cut:
        log.warning(
            "%d alerts of one delivery from %s were not read: more than %d.", found.cut, source, len(found.alerts)
        )
    became = alerting.receive(service(), source, found.alerts, delivery=delivery, cut=found.cut)
    told = [
        {"outcome": one.outcome, "rule": one.rule, "why": one.why, "incident": one.incident_id, "run": one.run_id}
        for one in became
    ]
    return jsonify(alerts=told, cut=found.cut)
