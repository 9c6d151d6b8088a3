"""The postmortem of an incident, in three forms that tell the same facts.

    as_notebook   executed cells with outputs and timing, for JupyterLab and for machines
    as_html       one file without scripts or outside references, for reading, printing, mailing
    as_markdown   GitHub-flavoured, for a wiki or a ticket; images are left out with a note

PDF is the HTML, printed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from runbooks_app.documents import as_html as html_form
from runbooks_app.documents import as_markdown as markdown_form
from runbooks_app.documents import as_notebook as notebook_form
from runbooks_app.documents.account import account, proofs

if TYPE_CHECKING:
    from runbooks_app.core.incident import IncidentStory

HTML_HEADERS: dict[str, str] = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": f"sandbox allow-popups; {html_form.POLICY}; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""Response headers of a route that shows `as_html` in the browser, instead of offering it as a download."""


def as_notebook(story: IncidentStory) -> dict[str, Any]:
    """The postmortem as a valid nbformat 4.5 notebook; write it with `nbformat.write` or as JSON."""
    blocks = account(story)
    entries = [{"seq": entry.seq, "hash": entry.hash} for entry in proofs(blocks)]
    return notebook_form.write(_title(story), blocks, {"incident": story.id, "entries": entries})


def as_notebook_text(story: IncidentStory) -> str:
    """The notebook as the text of an `.ipynb` file."""
    text = json.dumps(as_notebook(story), ensure_ascii=False, indent=1) + "\n"
    return text.encode("utf-8", "replace").decode()  # a kernel may print half of a surrogate pair


def as_html(story: IncidentStory) -> str:
    """The postmortem as one HTML file."""
    return html_form.write(_title(story), account(story))


def as_markdown(story: IncidentStory) -> str:
    """The postmortem as GitHub-flavoured Markdown."""
    return markdown_form.write(account(story))


def _title(story: IncidentStory) -> str:
    return f"Postmortem: {story.title or story.id}"
