"""Who may break the glass, and who closes it again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from runbooks_app.core import break_glass
from runbooks_app.core.break_glass import Mode
from runbooks_app.core.deciding import Asked, Decision, Unsigned, Verdict
from runbooks_app.core.errors import Conflict, InvalidInput, Refused
from runbooks_app.core.people import Person
from runbooks_app.core.policy import Policy, Risk
from runbooks_app.core.proposal import ProposalState

pytestmark = pytest.mark.identity

NOW = datetime(2026, 11, 22, 3, 12, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
POLICY = Policy(Risk.HIGH, 2, (("database",),), 1800, recheck=True)
ASKED = Asked(ProposalState.PROPOSED, "d1", POLICY, frozenset({"i#ana"}), "", NOW + timedelta(minutes=5))
ANA = Person("i#ana", "Ana", roles=frozenset({"responder", "break-glass", "approver:database"}))
BEN = Person("i#ben", "Ben", roles=frozenset({"approver:database"}))
BROKEN = replace(
    ASKED,
    state=ProposalState.APPROVED,
    decisions=(Decision("i#ana", "Ana", Verdict.APPROVE, NOW, break_glass=True),),
)
REASON = "The shop is down and nobody answers."


def use(asked=ASKED, person=ANA, digest="d1", reason=REASON, mode=Mode.SIGNED, now=NOW, signed=True, **session):
    return break_glass.use(asked, person, digest, reason, mode, now, signed=signed, **session)


def test_one_person_with_the_role_is_enough_also_for_what_they_asked_for():
    assert use() is ProposalState.APPROVED
    assert break_glass.why_not(ASKED, ANA, Mode.SIGNED, NOW) == ""


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ({"mode": Mode.OFF}, Refused, "off on this installation"),
        ({"person": BEN}, Refused, "takes the role break-glass"),
        ({"digest": "d2"}, Conflict, "not the one that you were shown"),
        ({"now": ASKED.expires_at}, Conflict, "expired"),
        ({"asked": replace(ASKED, state=ProposalState.EXECUTING)}, Conflict, "has started"),
        ({"asked": BROKEN}, Conflict, "was broken for this already"),
        ({"reason": "because " * 2 + "   "}, InvalidInput, "20 to 2,000 characters"),
        ({"reason": "x" * 2_001}, InvalidInput, "20 to 2,000 characters"),
        ({"signed": False, "auth_time": SECONDS}, Unsigned, "wants a fresh sign-in"),
        ({"signed": False, "mode": Mode.SESSION, "auth_time": SECONDS}, Unsigned, "wants a fresh sign-in"),
        ({"signed": False, "without_provider": True, "auth_time": SECONDS}, Refused, "BREAK_GLASS=signed"),
    ],
)
def test_anything_else_is_refused(given, error, told):
    with pytest.raises(error, match=told):
        use(**given)


def test_why_not_is_told_without_trying():
    assert "role break-glass" in break_glass.why_not(ASKED, BEN, Mode.SIGNED, NOW)
    assert "off" in break_glass.why_not(ASKED, ANA, Mode.OFF, NOW)


@pytest.mark.parametrize(
    ("auth_time", "enough"),
    [
        (SECONDS - 900, True),
        (SECONDS + 10, True),
        (SECONDS - 901, False),
        (SECONDS + 60, False),
        (None, False),
        ("0", False),
    ],
)
def test_without_the_provider_a_session_counts_for_15_minutes_where_the_installation_says_so(auth_time, enough):
    how = {"mode": Mode.SESSION, "signed": False, "without_provider": True, "auth_time": auth_time}
    if enough:
        assert use(**how) is ProposalState.APPROVED
    else:
        with pytest.raises(Refused, match="more than 15 minutes ago"):
            use(**how)


@pytest.mark.parametrize(
    ("person", "told"),
    [
        (Person("i#dan", "Dan", roles=frozenset({"auditor"})), ""),
        (Person("i#dan", "Dan", roles=frozenset({"admin"})), ""),
        (BEN, ""),
        (ANA, "You broke the glass"),
        (Person("i#eve", "Eve", roles=frozenset({"auditor"})), "You asked for the action"),
        (Person("i#fay", "Fay", roles=frozenset({"auditor"})), "You asked for the action"),
        (Person("i#gil", "Gil", roles=frozenset({"approver:payments"})), "Auditors, admins and those"),
    ],
)
def test_it_is_reviewed_by_somebody_who_had_no_part_in_it(person, told):
    asked = replace(BROKEN, requesters=frozenset({"i#ana", "i#eve"}), sponsor="i#fay")
    assert break_glass.why_not_review(asked, person, reviewed=False).startswith(told)
    if told:
        with pytest.raises(Refused, match=told):
            break_glass.review(asked, person, REASON, reviewed=False)
    else:
        break_glass.review(asked, person, REASON, reviewed=False)


def test_a_review_takes_words_and_stands_once():
    with pytest.raises(InvalidInput, match="20 to 2,000"):
        break_glass.review(BROKEN, BEN, "fine", reviewed=False)
    for cannot_be_kept in (f"{REASON} AKIA{'A' * 16}", f"{REASON} \0"):
        with pytest.raises(InvalidInput, match="The review cannot be kept"):
            break_glass.review(BROKEN, BEN, cannot_be_kept, reviewed=False)
    with pytest.raises(Conflict, match="reviewed already"):
        break_glass.review(BROKEN, BEN, REASON, reviewed=True)
    with pytest.raises(Refused, match="takes the role"):
        break_glass.review(BROKEN, Person("i#vic", "Vic", roles=frozenset({"viewer"})), REASON, reviewed=False)
