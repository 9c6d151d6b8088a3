"""The HTML pages. Each handler declares a permission, reads through the store or calls one action, and answers.

now         what goes on, what waits for me, the library
runbook     one runbook, and the form that starts it
run         one run; parts of it live
cells       outputs of cells by themselves: documents, images, whole texts
propose     a remediation proposed by hand
ask         a question in cells of one's own, on a run or an incident
proposal    the approval page
deciding_several   one answer to several proposals of an incident, with one sign-in
break_glass what one person had start alone, and its reviews
incident    incidents, notes, export
writing     notes that are changed, the prose of postmortems
connections the systems that runbooks reach, and what their tests proved
health_page how the service does, and which runbooks rot
audit       the trail
styleguide  every component in every state, in a demo
forms, words, icons, evidence    what pages have in common
"""

from __future__ import annotations

import hashlib
import json
import time
from functools import cache
from pathlib import Path

from flask import Blueprint, request, url_for

from runbooks_app.web.pages import (
    ask,
    audit,
    break_glass,
    cells,
    connections,
    deciding_several,
    events,
    health_page,
    incident,
    now,
    proposal,
    propose,
    run,
    runbook,
    styleguide,
    writing,
)
from runbooks_app.web.pages.evidence import frame_height
from runbooks_app.web.pages.icons import icon_file
from runbooks_app.web.pages.run_view import bar
from runbooks_app.web.pages.words import FILTERS

blueprint = Blueprint("pages", __name__)

HTMX = {
    "extensions": "sse",
    "history": False,  # addresses are the browser's own: each page comes whole
    "includeIndicatorCSS": False,  # one stylesheet
    "morphSkip": "[data-unsaved]",  # what a form was sent and did not take stays in its field
    "noSwap": [204, 304, "4xx", "5xx"],  # an error's page is no list and no part
    "sse": {"reconnectDelay": "1s", "reconnectMaxDelay": "10s"},
}
"""Settings of htmx that are not its defaults."""

for _page in (
    now,
    runbook,
    run,
    cells,
    propose,
    ask,
    proposal,
    deciding_several,
    break_glass,
    writing,
    incident,
    connections,
    health_page,
    audit,
    events,
    styleguide,
):
    blueprint.register_blueprint(_page.blueprint)

blueprint.add_app_template_global(frame_height)
blueprint.add_app_template_global(bar, "time_bar")

for _name, _filter in FILTERS.items():
    blueprint.add_app_template_filter(_filter, _name)


@cache
def _version(filename: str) -> str:
    content = (Path(__file__).parent.parent / "static" / filename).read_bytes()
    return hashlib.sha256(content).hexdigest()[:12]


@blueprint.app_template_global()
def asset(filename: str) -> str:
    """Address of a static file that changes with its content, so that browsers may keep it."""
    return url_for("static", filename=filename, v=_version(filename))


@blueprint.app_template_global()
def htmx_config() -> str:
    """What htmx is told in each page's head."""
    return json.dumps(HTMX)


@blueprint.app_template_global()
def icon(title: str) -> str:
    """Address of the icon for a page with this title."""
    return asset(icon_file(title))


@blueprint.app_template_global()
def now_ms() -> int:
    """The server's time in milliseconds since the epoch: countdowns go by it, whatever the phone's clock says."""
    return int(time.time() * 1000)


@blueprint.app_template_global()
def page_above() -> str:
    """The page that a failed request belongs to, for the way back from an error."""
    parts = request.path.strip("/").split("/")
    above = len(parts) > 2 and parts[0] in {"proposals", "runs", "incidents"}
    return f"/{parts[0]}/{parts[1]}" if above else "/"
