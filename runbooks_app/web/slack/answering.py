"""Who asks, what can be asked, and how each is answered.

What is asked is done for the person whom the Slack account is linked to, with their roles, by the same actions as
everywhere; nobody linked gets a one-time link, for their eyes only. The tables below are all that can be asked.

This process holds no token and calls nobody: what does not fit into the acknowledgement is a queued job. A mention is
answered in its thread, where the others see it; a press by its `response_url`; a form's sending off in the form.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from runbooks_app.actions import people
from runbooks_app.actions.delivering import Taken, once
from runbooks_app.actions.refusals import refused
from runbooks_app.actions.running import cancel_run
from runbooks_app.actions.saying import Place, say
from runbooks_app.chat import replies
from runbooks_app.chat.blocks import APPROVE, CANCEL_RUN, DENY
from runbooks_app.chat.commands import Command, Verb, parse
from runbooks_app.chat.forms import ASK_FORM, RUN_FORM, first_block, said
from runbooks_app.chat.incidents import ATTACH, CLOSE
from runbooks_app.chat.replies import OPEN_FORM
from runbooks_app.chat.scopes import SHORTCUT
from runbooks_app.core.errors import Refused, RunbooksError, Unavailable
from runbooks_app.core.people import Person
from runbooks_app.store.database import transaction
from runbooks_app.web.slack import asking, commands, deciding, forms, here, incidents, suggesting
from runbooks_app.web.slack.asked import Answer, Asked, Kind

if TYPE_CHECKING:
    from runbooks_app.actions.context import Service
    from runbooks_app.chat.views import Message

log = logging.getLogger(__name__)

TYPED = frozenset({Kind.COMMAND, Kind.MENTION})

Handler = Callable[["Service", Person, Asked], Answer]


def _cancel(service: Service, person: Person, asked: Asked) -> Answer:
    cancel_run(service, person, asked.signed_in(), asked.value, delivery=asked.delivery)
    return Answer()  # the run's message tells the rest


VERBS: Mapping[Verb, commands.VerbHandler] = {
    Verb.RUN: commands.run,
    Verb.FORM: forms.form,
    Verb.LIST: commands.list_,
    Verb.STATUS: commands.status,
    Verb.CANCEL: commands.cancel,
    Verb.NOTE: commands.note,
    Verb.INCIDENT: incidents.incident,
    Verb.ATTACH: incidents.attach,
    Verb.CLOSE: incidents.close,
    Verb.POSTMORTEM: commands.postmortem,
    Verb.HELP: commands.help_,
}
"""What is typed, behind the slash command or the app's mention."""

PRESSED: Mapping[str, Handler] = {
    CANCEL_RUN: _cancel,
    OPEN_FORM: forms.pressed,
    APPROVE: deciding.approve,
    DENY: deciding.deny,
    ATTACH: incidents.press_attach,
    CLOSE: incidents.press_close,
}
"""Buttons and menus, by `action_id`. Buttons that only open a page are told to us as well: they are not in here."""

SHORTCUTS: Mapping[str, Handler] = {SHORTCUT: asking.opened}
"""Shortcuts of a message, by `callback_id`."""

SUBMITTED: Mapping[str, Handler] = {
    RUN_FORM: forms.sent_off,
    ASK_FORM: partial(asking.sent_off, VERBS),
    CLOSE: incidents.submit_close,
    ATTACH: incidents.submit_attach,
    CANCEL_RUN: commands.submit_cancel,
}
"""Forms sent off, by `callback_id`."""

EVENTS: Mapping[str, Handler] = {"pin_added": incidents.pinned}
"""Events, by type. They are nobody's question: what goes wrong is logged and told to nobody."""

_TABLES = {
    Kind.PRESSED: PRESSED,
    Kind.SHORTCUT: SHORTCUTS,
    Kind.SUBMITTED: SUBMITTED,
    Kind.EVENT: EVENTS,
}


def answer(service: Service, asked: Asked) -> Answer:
    """Do what is asked, and answer it.

    Raises `Unavailable` where nothing was done and Slack will ask again by itself: a mention, an event.
    """
    typed = asked.kind in TYPED
    if not typed and asked.name not in _TABLES[asked.kind]:
        return Answer()
    command: Command | None = None
    person: Person | None = None
    try:
        person = people.person_of_chat(service, asked.team, asked.user)
        if person is None:
            return _link(service, asked)
        if typed:
            command = parse(asked.text)
            told = VERBS[command.verb](service, person, asked, command)
        else:
            told = _TABLES[asked.kind][asked.name](service, person, asked)
    except Unavailable as error:
        if asked.kind in {Kind.MENTION, Kind.EVENT}:
            raise
        if asked.kind is Kind.SUBMITTED and (block := first_block(asked.view)):
            return Answer(errors={block: error.message})  # the form stays, with all that was filled in
        told = Answer(replies.error_reply(error))
    except Taken as taken:
        told = Answer(replies.done_reply(taken.message)) if typed or asked.kind is Kind.SUBMITTED else Answer()
    except RunbooksError as error:
        if asked.kind is Kind.EVENT:
            log.info("An event of Slack (%s) was not acted on: %s.", asked.name, error.code)
            return Answer()
        told = Answer(_error(service, error, person, asked, command))
    return _delivered(service, asked, told)


def _delivered(service: Service, asked: Asked, told: Answer) -> Answer:
    """The answer as far as this kind of request takes one; the rest is queued."""
    if told.message is None or asked.kind is Kind.COMMAND:
        return told
    if asked.kind is Kind.SUBMITTED:
        return Answer(view=said(told.message))
    say(service, _place(asked, alone=asked.kind is not Kind.MENTION), _json(told.message), delivery=asked.delivery)
    return Answer()


def _link(service: Service, asked: Asked) -> Answer:
    """A one-time link for somebody whom nobody is known to be, never in public; a copied request gets none."""
    if asked.kind is Kind.EVENT:
        return Answer()
    if asked.kind is Kind.MENTION:  # names nobody: people could not see that the account on the page is theirs
        say(service, _place(asked, alone=True), _json(replies.link_by_command()), delivery=asked.delivery)
        return Answer()
    if asked.kind not in {Kind.COMMAND, Kind.SUBMITTED}:
        say(service, _place(asked, alone=True), None, delivery=asked.delivery)
        return Answer()
    try:
        with transaction(service.engine) as tx:
            once(tx, asked.delivery)
    except Taken as taken:
        return Answer(replies.done_reply(taken.message))
    code = people.offer_chat_link(service, asked.team, asked.user, asked.user_name)
    url = here.url_of(service, f"/link/{code}")
    return _delivered(service, asked, Answer(replies.link_reply(url, minutes=people.LINK_MINUTES)))


def _error(
    service: Service, error: RunbooksError, person: Person | None, asked: Asked, command: Command | None
) -> Message:
    """What went wrong, for the person who asked; a refusal leaves its trace first."""
    if isinstance(error, Refused):
        what = f"slack {command.verb if command else asked.name}".strip()
        try:
            refused(service, person, asked.signed_in(), what, error.message)
        except RunbooksError:
            log.exception("A refusal could not be entered in the audit trail; it was refused all the same.")
    meant = suggesting.corrected(service, person, asked.text) if person and asked.kind in TYPED else ""
    return replies.error_reply(error, corrected=meant, command=asked.command)


def _place(asked: Asked, *, alone: bool) -> Place:
    return Place(
        asked.team, asked.user, asked.user_name, asked.channel, asked.thread_ts, asked.response_url, alone=alone
    )


def _json(message: Message) -> dict[str, object]:
    return {"text": message.text, "blocks": list(message.blocks)}
