"""Tying a chat account to the person who is signed in, by the one-time link that the chat gave.

Looking at the link changes nothing, so a previewer that follows it uses nothing up: the page names the chat
account, and a button ties it. The template `link.html` is given `code` and `chat_name`.
"""

from __future__ import annotations

from flask import Blueprint, Response, g, make_response, render_template

from runbooks_app.actions import people
from runbooks_app.core.errors import NotFound
from runbooks_app.web.context import service
from runbooks_app.web.guards import guard, signed_in

blueprint = Blueprint("linking", __name__)


@blueprint.get("/link/<code>")
@guard()
def confirm(code: str) -> Response:
    """Ask whether this chat account is theirs."""
    chat_name = people.chat_offer(service(), code)
    if chat_name is None:
        raise NotFound("This link was used already or is older than 15 minutes; ask for a new one in the chat.")
    return make_response(render_template("link.html", code=code, chat_name=chat_name))


@blueprint.post("/link/<code>")
@guard()
def link(code: str) -> Response:
    """Tie the account."""
    chat_name = people.link_chat(service(), g.person, signed_in(), code)
    return make_response(render_template("link.html", code="", chat_name=chat_name))
