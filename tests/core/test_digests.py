"""Digests change with everything that they cover, and with nothing else."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbooks_app.core import digests
from runbooks_app.core.errors import InvalidInput

CELLS = (
    ("parameters", "limit: int = 1"),
    ("diagnostic", "print(limit)"),
    ("remediation", 'pid: int\nkit.gate("end", "End {pid}")\nkit.http("api")'),
    ("diagnostic", "print(pid)"),
)


def test_a_digest_is_sha256_over_canonical_json_with_its_kind():
    expected = hashlib.sha256(b'{"kind":"source/1","source":"x = 1"}').hexdigest()
    assert digests.source_digest("x = 1") == expected


@pytest.mark.parametrize("value", [2**53, float("nan"), "\ud800", {1: 2}, {"a": object()}, b"x"])
def test_what_json_cannot_hold_has_no_digest(value):
    with pytest.raises(InvalidInput, match="no canonical JSON form"):
        digests.canonical(value)


def test_a_value_that_is_nested_too_deep_has_no_digest():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InvalidInput):
        digests.canonical(deep)


def changed_cell(runbook, **changes):
    return replace(runbook, cells=(replace(runbook.cells[1], **changes), *runbook.cells[1:]))


def changed_gate(runbook, **changes):
    section = runbook.sections[0]
    return replace(runbook, sections=(replace(section, gate=replace(section.gate, **changes)),))


CHANGES = {
    "id": lambda r: replace(r, id="7b2f1c9e-5d0a-4e63-9a41-2f6c8e0d3b58"),
    "title": lambda r: replace(r, title="Another"),
    "source": lambda r: changed_cell(r, source="print(limit )"),
    "cell id": lambda r: changed_cell(r, id="other"),
    "tags": lambda r: changed_cell(r, tags=("diagnostic", "slow")),
    "stage": lambda r: changed_cell(r, stage="setup"),
    "cell timeout": lambda r: changed_cell(r, timeout=5),
    "order": lambda r: replace(r, cells=r.cells[::-1]),
    "fewer cells": lambda r: replace(r, cells=r.cells[:-1]),
    "default": lambda r: replace(r, parameters=(replace(r.parameters[0], default=2),)),
    "limits": lambda r: replace(r, parameters=(replace(r.parameters[0], limits={"minimum": 1}),)),
    "no parameters": lambda r: replace(r, parameters=()),
    "risk": lambda r: changed_gate(r, risk="low"),
    "approvals": lambda r: changed_gate(r, approvals=2),
    "approvers": lambda r: changed_gate(r, approvers=("sre",)),
    "expiry": lambda r: changed_gate(r, expires=60),
    "re-check": lambda r: changed_gate(r, recheck=False),
    "informative": lambda r: changed_gate(r, informative=("pid",)),
    "gate": lambda r: changed_gate(r, name="stop"),
    "connections": lambda r: replace(r, connections={"api": "http"}),
    "timeouts": lambda r: replace(r, limits={**r.limits, "run": 5}),
    "kernel limits": lambda r: replace(r, limits={**r.limits, "memory": 5}),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_runbooks_digest_changes_with(what, runbook):
    read = runbook(*CELLS)
    changed = CHANGES[what](read)
    assert digests.runbook_digest(changed, "m", "e") != digests.runbook_digest(read, "m", "e")


def test_a_runbooks_digest_changes_with_its_modules_and_environment(runbook):
    read = runbook(*CELLS)
    found = {digests.runbook_digest(read, *around) for around in (("m", "e"), ("n", "e"), ("m", "f"), ("e", "m"))}
    assert len(found) == 4


def test_owner_and_description_are_no_part_of_a_runbooks_digest(runbook):
    read = runbook(*CELLS)
    changed = replace(read, owner="others", description="Another.", name="moved", digest="x")
    assert digests.runbook_digest(changed, "m", "e") == digests.runbook_digest(read, "m", "e")


def test_the_digest_survives_storing_the_notebook_as_json(notebook, runbook):
    stored = json.loads(json.dumps(notebook(*CELLS), sort_keys=True))
    from runbooks_app.core import reading

    assert reading.read("orders", stored, {}).digest == runbook(*CELLS).digest


PROPOSAL = {
    "proposal_id": "p",
    "run_id": "1",
    "parameters_digest": "v",
    "cell_id": "c3",
    "source_digest": "s",
    "inputs": {"pid": 4711},
    "connections": [{"connection": "orders-db", "role": "orders_operator"}],
    "evidence_digest": "e",
    "runbook_digest": "r",
    "policy": {"risk": "high", "approvals": 1},
}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("proposal_id", "P"),
        ("run_id", "2"),
        ("parameters_digest", "V"),
        ("cell_id", "c4"),
        ("source_digest", "S"),
        ("inputs", {"pid": 4712}),
        ("inputs", {"pid": "4711"}),
        ("inputs", {}),
        ("connections", [{"connection": "orders-db", "role": "owner"}]),
        ("connections", []),
        ("evidence_digest", "E"),
        ("runbook_digest", "R"),
        ("policy", {"risk": "low", "approvals": 1}),
    ],
)
def test_a_proposals_digest_changes_with(field, value):
    assert digests.proposal_digest(**{**PROPOSAL, field: value}) != digests.proposal_digest(**PROPOSAL)


def test_a_decisions_nonce_speaks_of_the_proposal_and_the_answer():
    nonces = {digests.decision_nonce(p, d) for p in ("a", "b") for d in ("approve", "deny")}
    assert len(nonces) == 4


def test_modules_count_by_path_and_content():
    base = digests.modules_digest({"kit/a.py": b"1"})
    assert base == digests.modules_digest({"kit/a.py": b"1"})
    assert len({base, digests.modules_digest({"kit/b.py": b"1"}), digests.modules_digest({"kit/a.py": b"2"})}) == 3


def test_an_environment_counts_by_python_and_versions_in_any_order():
    base = digests.environment_digest("3.11.7", [("a", "1"), ("b", "2")])
    assert base == digests.environment_digest("3.11.7", [("b", "2"), ("a", "1"), ("a", "1")])
    assert base != digests.environment_digest("3.12.0", [("a", "1"), ("b", "2")])
    assert base != digests.environment_digest("3.11.7", [("a", "1"), ("b", "3")])


def test_sorts_of_digests_never_meet():
    assert digests.parameters_digest({}) != digests.evidence_digest([])
    assert digests.evidence_digest([{"summary": "a"}]) != digests.evidence_digest([{"summary": "b"}])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=6,
)
objects = st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), json_values, max_size=3)


@given(objects, objects)
def test_two_sets_of_values_share_a_digest_only_if_they_are_equal(one, other):
    def plain(value):
        return json.dumps(value, sort_keys=True)

    same = digests.parameters_digest(one) == digests.parameters_digest(other)
    assert same == (plain(one) == plain(other))
    assert digests.parameters_digest(json.loads(json.dumps(one))) == digests.parameters_digest(one)


def test_a_nonce_for_several_proposals_commits_to_each_of_them_and_to_the_answer_in_any_order():
    nonce = digests.batch_nonce(["a", "b"], "approve")
    assert nonce == digests.batch_nonce(["b", "a"], "approve")
    others = [(["a"], "approve"), (["a", "c"], "approve"), (["a", "b", "c"], "approve"), (["a", "b"], "deny")]
    assert nonce not in {digests.batch_nonce(*other) for other in others}
    assert digests.batch_nonce(["a"], "approve") != digests.decision_nonce("a", "approve")
