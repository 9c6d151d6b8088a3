"""Slack is away for a while, in each way in which networks fail: nothing is lost, nothing doubled, all in order."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from chat_journeys.line import Cut
from chat_journeys.workplace import ROOMS, Workplace, workplace
from whole_stage import until

pytestmark = pytest.mark.chat


@pytest.fixture(scope="module")
def place(servers_folder: Path, postgres_programs: Path) -> Iterator[Workplace]:
    with workplace(servers_folder / "workplace") as started:
        yield started


def asked(place: Workplace, words: dict[str, bool], rooms: Iterator[str]) -> None:
    """Ask for a run that tells of each word; each is taken though Slack may be away."""
    for word, chart in words.items():
        answer = place.send(*place.command(next(rooms), f"tells word={word} chart={str(chart).lower()}"))
        assert answer.status == 200
        assert "/runs/" in answer.text, answer.text


@pytest.mark.parametrize("how", [Cut.SILENT, Cut.RESET, Cut.DEAF])
def test_what_is_told_while_slack_is_away_stands_there_once_and_in_order_when_it_is_back(place: Workplace, how: Cut):
    words = [f"{how.name.lower()}-{number}-{uuid.uuid4().hex[:6]}" for number in range(9)]
    before, during, after = ({word: n % 2 == 0 for n, word in enumerate(words[at : at + 3])} for at in (0, 3, 6))
    rooms = itertools.cycle(ROOMS[:4])
    asked(place, before, rooms)
    place.line.refused = 0
    with place.line.cut(how):
        asked(place, during, rooms)
        ended = "SELECT count(*) FROM runs WHERE state = 'diagnosed' AND parameters->>'word' = ANY (%s)"
        until("the runs to end without Slack", lambda: place.rows(ended, list(before | during))[0]["count"] == 6)
        until("Slack to be tried", lambda: place.line.refused >= 3)
    asked(place, after, rooms)
    place.told(90)
    verdict = place.verdict(before | during | after)
    assert (verdict.lost, verdict.doubled, verdict.disordered) == ([], [], [])
