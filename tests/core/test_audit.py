"""The chain: what holds, and every way of breaking it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbooks_app.core.audit import GENESIS, Entry, canonical, entry_hash, verify

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)


def chain(count: int, text: str = "x") -> list[Entry]:
    entries: list[Entry] = []
    previous = GENESIS
    for seq in range(1, count + 1):
        body = canonical({"text": text, "n": seq})
        entry = Entry(
            seq,
            f"2026-11-22T03:12:{seq:02}.000000Z",
            canonical({"name": text}),
            "run.requested",
            "{}",
            body,
            previous,
            "",
        )
        entry = replace(entry, hash=entry_hash(entry))
        previous = entry.hash
        entries.append(entry)
    return entries


@given(st.integers(0, 5), WORDS)
def test_a_chain_verifies_also_after_an_export_and_back(count, text):
    entries = chain(count, text)
    head = (count, entries[-1].hash if entries else GENESIS)
    assert verify(entries, head).ok
    assert verify(entries).entries == count
    lines = [json.loads(json.dumps(entry.as_json())) for entry in entries]
    assert [Entry.from_json(line) for line in lines] == entries


@given(WORDS)
def test_the_envelope_is_the_canonical_form_of_its_members(text):
    (entry,) = chain(1, text)
    whole = {k: v for k, v in entry.as_json().items() if k != "hash"}
    assert entry.envelope() == canonical(whole).encode()


@pytest.mark.parametrize("field", ["at", "actor", "event", "objects", "body"])
def test_an_edited_entry_is_found_and_located(field):
    entries = chain(5)
    entries[2] = replace(entries[2], **{field: getattr(entries[2], field).replace("{", '{"a":1,', 1) + " "})
    verdict = verify(entries)
    assert (verdict.ok, verdict.broken_at, verdict.entries) == (False, 3, 2)
    assert "altered" in verdict.reason


def test_a_deleted_or_reordered_entry_is_found():
    entries = chain(5)
    assert verify([*entries[:2], *entries[3:]]).broken_at == 3
    assert verify([entries[0], entries[2], entries[1], *entries[3:]]).broken_at == 2


def test_a_fork_is_found():
    entries, other = chain(5), chain(5, "another history")
    verdict = verify([*entries[:3], *other[3:]])
    assert verdict.broken_at == 4
    assert "does not follow" in verdict.reason


def test_a_truncated_chain_is_found_by_its_head():
    entries = chain(5)
    verdict = verify(entries[:4], (5, entries[4].hash))
    assert (verdict.broken_at, verdict.entries) == (5, 4)
    assert verify([], (5, entries[4].hash)).broken_at == 1
