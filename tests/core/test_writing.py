"""What people write down and change later."""

import pytest

from runbooks_app.core.errors import InvalidInput, NotFound, Refused
from runbooks_app.core.people import Person, through
from runbooks_app.core.writing import Clash, Section, changed, kept, require_own, require_prose, section, written

pytestmark = pytest.mark.pages


def change(given, *, based_on=2, version=2, before="It was slow.", limit=100):
    return changed(given, where="text", limit=limit, based_on=based_on, version=version, before=before)


def test_a_change_of_the_text_that_stands_is_kept_without_what_browsers_add():
    assert change("  It was\r\nvery slow.\n") == "It was\nvery slow."
    assert change("") == ""


def test_a_change_of_another_version_clashes_unless_it_says_the_same():
    with pytest.raises(Clash, match="since you opened it"):
        change("It was fast.", based_on=1)
    assert change("It was slow. ", based_on=1) is None


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("x" * 101, "has 101 characters; 100 are the most."),
        ("a\x00b", "holds a NUL or half a character."),
        ("a\ud800b", "holds a NUL or half a character."),
        ("It is AKIA" + "A" * 16, "holds what looks like an AWS access key."),
    ],
)
def test_what_cannot_be_kept_is_told(given, why):
    for keep in (change, lambda text: written("text", text, 100), lambda text: kept("text", text, 100)):
        with pytest.raises(InvalidInput) as told:
            keep(given)
        assert [(problem.where, problem.message) for problem in told.value.problems] == [("text", why)]


def test_what_is_written_first_is_no_empty_text():
    assert written("cause", " A full\r\ndisk\n", 100) == "A full\ndisk"
    assert kept("reason", " \n", 100) == ""
    with pytest.raises(InvalidInput, match="Write a cause"):
        written("cause", " \n", 100)


ANA = Person("https://idp#ana", "Ana", roles=frozenset({"responder"}))
HERS = through(ANA, "agent", "helper")


def test_a_note_is_changed_by_who_wrote_it_alone():
    require_own(ANA, ANA.subject, "Ana, as she was called", "")
    require_own(HERS, ANA.subject, HERS.name, "")
    for person, subject, name in ((ANA, "https://idp#ben", "Ben"), (HERS, ANA.subject, "Ana")):
        with pytest.raises(Refused, match=f"Only {name} may change this note"):
            require_own(person, subject, name, "")
    with pytest.raises(Refused, match="what Ben wrote in the chat"):
        require_own(ANA, ANA.subject, "Ana", "Ben")


def test_people_write_the_prose_and_agents_do_not():
    require_prose(ANA)
    with pytest.raises(Refused, match="an agent adds notes"):
        require_prose(HERS)
    with pytest.raises(Refused, match="takes the role"):
        require_prose(Person("https://idp#vera", "Vera"))


def test_each_section_says_what_it_asks_for():
    assert all(one.asks for one in Section)
    assert section("impact") is Section.IMPACT
    with pytest.raises(NotFound, match="no section 'blame'; it has summary, impact"):
        section("blame")
