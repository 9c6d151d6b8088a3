"""What a kernel says is held to sizes, types and depth; nothing that it says raises."""

from __future__ import annotations

import functools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbooks_app.core import bundles
from runbooks_app.core.bundles import CHECK, FINDING, KEEP, PROPOSAL, Checked, Finding, Kept, Proposed
from runbooks_app.core.digests import canonical
from runbooks_app.core.errors import Problem

TABLE = {
    "kind": "table",
    "columns": [{"name": "pid", "type": "number"}, {"name": "query", "type": "text"}],
    "rows": [[4711, "LOCK TABLE"], [4712, None]],
    "omitted": 3,
}


def finding(evidence=None, **more):
    return bundles.parse(FINDING, {"severity": "critical", "summary": "it is slow", "evidence": evidence, **more})


def nested(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


def test_outputs_are_read_in_order_and_the_rest_is_left_alone():
    outputs = [
        {"output_type": "stream", "text": "hello"},
        {"output_type": "display_data", "data": {FINDING: {"severity": "info", "summary": "all is well"}}},
        {"data": {PROPOSAL: {"gate": "end", "inputs": {"pid": 1}}, "text/plain": "x"}},
        {"data": {KEEP: {"values": {"p99": 1}}}},
        {"data": {KEEP: {"values": {"p99": 2, "p50": 1}}}},
        {"data": {CHECK: {"name": "nobody waits", "ok": True, "seconds": 1}}},
        {"data": {CHECK: 5}},
        {"data": None},
        "nonsense",
    ]
    said = bundles.read(outputs)
    assert said.findings == (Finding("info", "all is well"),)
    assert said.proposed == (Proposed("end", {"pid": 1}),)
    assert said.kept == {"p99": 2, "p50": 1}
    assert said.checks == (Checked("nobody waits", ok=True, seconds=1.0),)
    assert said.problems == (Problem("check", "is not an object."),)


def test_a_cell_that_says_too_much_is_cut_off_and_told():
    output = {"data": {FINDING: {"severity": "info", "summary": "x"}}}
    said = bundles.read([output] * (bundles.MAX_BUNDLES + 1))
    assert len(said.findings) == bundles.MAX_BUNDLES
    assert "says 501 things" in str(said.problems[0])


def test_evidence_in_bounds_is_kept_as_it_is():
    assert finding(TABLE).evidence == TABLE
    assert finding({"kind": "text", "text": "a\nb"}).evidence == {"kind": "text", "text": "a\nb"}
    assert finding({"kind": "json", "value": {"a": [1, None, True, 0.5]}}).evidence["value"] == {
        "a": [1, None, True, 0.5]
    }
    assert finding().evidence is None


def test_a_summary_is_one_line_of_500_characters_at_most():
    found = finding(summary="a\n\u202e" + "b" * 600)
    assert found.summary.startswith("a \ufffdbbb")
    assert len(found.summary) == 500


def test_rows_texts_and_names_are_cut_and_the_rows_counted():
    rows = [["x" * 2_000]] * 250
    found = finding({"kind": "table", "columns": [{"name": "n" * 200, "type": "text"}], "rows": rows, "omitted": 7})
    assert len(found.evidence["rows"]) == 200
    assert found.evidence["omitted"] == 57
    assert len(found.evidence["rows"][0][0]) == 1_000
    assert len(found.evidence["columns"][0]["name"]) == 100
    text = finding({"kind": "text", "text": "x" * 30_000}).evidence["text"]
    assert len(text) == 20_000


def test_what_cannot_be_stored_is_mended_in_evidence():
    row = ["a\0\ud800", 2**60, float("nan"), float("inf"), {"a": [1]}, 2**400]
    columns = [{"name": "x", "type": "text"}] * len(row)
    cells = finding({"kind": "table", "columns": columns, "rows": [row]}).evidence["rows"][0]
    assert cells == ["a\ufffd?", str(2**60), None, "inf", '{"a": [1]}', "a huge number"]
    canonical(cells)


@pytest.mark.parametrize(
    "evidence",
    [
        5,
        {},
        {"kind": ["table"]},
        {"kind": "picture"},
        {"kind": "text"},
        {"kind": "text", "text": 5},
        {"kind": "json", "value": nested(30)},
        {"kind": "json", "value": list(range(30_000))},
        {"kind": "json", "value": {"x" * 600_000: 1}},
        {"kind": "json", "value": "x" * 600_000},
        {"kind": "json", "value": {5: 1}},
        {"kind": "json", "value": object()},
        {**TABLE, "columns": None},
        {**TABLE, "columns": [{"name": "x", "type": "text"}] * 51},
        {**TABLE, "columns": [5, 6]},
        {**TABLE, "columns": [{"name": "x", "type": "colour"}, {"name": "y", "type": "text"}]},
        {**TABLE, "columns": [{"name": 5, "type": "text"}, {"name": "y", "type": "text"}]},
        {**TABLE, "rows": None},
        {**TABLE, "rows": [[1]]},
        {**TABLE, "rows": [5]},
        {**TABLE, "omitted": -1},
        {**TABLE, "omitted": True},
        {**TABLE, "omitted": "3"},
        {**TABLE, "omitted": 2**53},
        {**TABLE, "rows": [[1, nested(30)]]},
    ],
)
def test_malformed_evidence_never_takes_the_sentence_with_it(evidence):
    found = finding(evidence)
    assert found.summary == "it is slow"
    assert found.evidence["kind"] == "text"
    assert "cannot be shown" in found.evidence["text"]


@pytest.mark.parametrize(
    ("mime", "bundle"),
    [
        (FINDING, None),
        (FINDING, []),
        (FINDING, {"severity": "fatal", "summary": "x"}),
        (FINDING, {"severity": ["info"], "summary": "x"}),
        (FINDING, {"severity": functools.reduce(lambda inner, _: [inner], range(900), "info"), "summary": "x"}),
        (FINDING, {"severity": "info"}),
        (FINDING, {"severity": "info", "summary": " \n"}),
        (FINDING, {"severity": "info", "summary": 5}),
        (PROPOSAL, {"inputs": {}}),
        (PROPOSAL, {"gate": "End It", "inputs": {}}),
        (PROPOSAL, {"gate": "end"}),
        (PROPOSAL, {"gate": "end", "inputs": {"a b": 1}}),
        (PROPOSAL, {"gate": "end", "inputs": {5: 1}}),
        (PROPOSAL, {"gate": "end", "inputs": {f"a{n}": n for n in range(101)}}),
        (PROPOSAL, {"gate": "end", "inputs": {"a": 2**53}}),
        (PROPOSAL, {"gate": "end", "inputs": {"a": float("nan")}}),
        (PROPOSAL, {"gate": "end", "inputs": {"a": "\0"}}),
        (PROPOSAL, {"gate": "end", "inputs": {"a": ["\ud800"]}}),
        (PROPOSAL, {"gate": "end", "inputs": {"a": nested(30)}}),
        (PROPOSAL, {"gate": "end", "inputs": {}, "reason": 5}),
        (KEEP, {}),
        (KEEP, {"values": {"__class__": 1}}),
        (KEEP, {"values": {"a": object()}}),
        (CHECK, {"name": "x", "ok": 1}),
        (CHECK, {"name": "x", "ok": True, "seconds": -1}),
        (CHECK, {"name": "x", "ok": True, "seconds": "1"}),
        (CHECK, {"name": "x", "ok": True, "seconds": True}),
        (CHECK, {"name": "x", "ok": True, "seconds": float("nan")}),
        (CHECK, {"name": "", "ok": True}),
        (CHECK, {"ok": True}),
        (CHECK, {"name": "x", "ok": True, "detail": 5}),
    ],
)
def test_a_malformed_bundle_is_a_problem(mime, bundle):
    assert isinstance(bundles.parse(mime, bundle), Problem)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
keys = ["severity", "summary", "evidence", "gate", "inputs", "reason", "values", "name", "ok", "seconds", "detail"]
evidence = st.fixed_dictionaries(
    {"kind": st.sampled_from(["table", "text", "json"])},
    optional={
        "columns": json_values,
        "rows": json_values,
        "omitted": json_values,
        "text": json_values,
        "value": json_values,
    },
)
bundle = st.dictionaries(st.sampled_from(keys), json_values | evidence) | st.fixed_dictionaries(
    {"severity": st.just("info"), "summary": st.text(), "evidence": evidence | json_values}
)


@given(st.sampled_from([FINDING, PROPOSAL, KEEP, CHECK]), bundle | json_values)
def test_whatever_a_kernel_says_is_a_problem_or_can_be_stored_and_digested(mime, said):
    found = bundles.parse(mime, said)
    assert isinstance(found, Problem | Finding | Proposed | Kept | Checked)
    if not isinstance(found, Problem):
        canonical(vars(found))
        assert "\\u0000" not in json.dumps(vars(found)).replace("\\\\", "")
