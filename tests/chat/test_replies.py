"""What is answered to a command: what is wrong with its mend, lists, and a link."""

from __future__ import annotations

from chat.told import buttons, said

from runbooks_app.chat import replies, views
from runbooks_app.core.errors import InvalidInput, NotFound, Problem


def test_a_misspelt_name_is_answered_with_the_corrected_command():
    told = said(replies.error_reply(NotFound("There is no runbook db-latncy."), corrected='db-latency note="a b"'))
    assert 'Did you mean: `/runbook db-latency note="a b"`' in told


def test_an_error_shows_every_point_with_its_mend_and_commands_as_code():
    error = InvalidInput("See `/runbook list`.", problems=(Problem("service", "is not known.", "Use `orders`."),))
    told = said(replies.error_reply(error))
    assert "See `/runbook list`." in told
    assert "• *service*: is not known. Use `orders`." in told


def test_runbooks_that_fit_the_incident_are_listed_first():
    listed = (views.RunbookTold("a"), views.RunbookTold("b", "Bees", fits=True))
    told = said(replies.list_reply(listed, none=""))
    assert told.index("📌 `/runbook b` — Bees") < told.index("`/runbook a`")


def test_linking_offers_one_button():
    found = buttons(replies.link_reply("https://runbooks.example/link/1"))
    assert found["link_person"]["url"] == "https://runbooks.example/link/1"
