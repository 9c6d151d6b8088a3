"""Rich outputs: tables of pandas, JSON as a tree, charts that want a script, and where in a cell an exception began."""

from __future__ import annotations

import documents_hostile as hostile
import pandas as pd
import pytest
from documents_story import display, png

from runbooks_app.documents.jsontree import MOST_CHILDREN, MOST_DEEP
from runbooks_app.documents.outputs import pieces
from runbooks_app.documents.tables import LARGEST

pytestmark = pytest.mark.pages

SESSIONS = pd.DataFrame(
    {
        "pid": [4711, 4712],
        "application": ["<b>deploy</b>", "checkout"],
        "seconds": [371.5, float("nan")],
        "since": pd.to_datetime(["2026-11-22 03:06:20", "2026-11-22 03:07:20"]),
        "share": ["12 %", "7.5%"],
        "load": ["1,204", "-3e5"],
    }
)


def shown(html, **options):
    (piece,) = pieces([display(data={"text/html": html, "text/plain": "as text"})], **options)
    return piece


def as_html(frame):
    return frame._repr_html_()


def test_a_data_frame_becomes_a_table_whose_columns_know_what_they_hold():
    table = shown(as_html(SESSIONS))
    assert table.kind == "table"
    assert [(column.name, column.type) for column in table.columns] == [
        ("", "number"),
        ("pid", "number"),
        ("application", "text"),
        ("seconds", "number"),
        ("since", "time"),
        ("share", "number"),
        ("load", "number"),
    ]
    assert table.rows[0] == ("0", "4711", "<b>deploy</b>", "371.5", "2026-11-22 03:06:20", "12 %", "1,204")
    assert (table.labels, table.omitted, table.folded) == (1, 0, 0)


def test_rows_with_several_labels_and_columns_with_several_heads_keep_them_all():
    labelled = shown(as_html(SESSIONS[["pid", "application", "seconds"]].set_index(["pid", "application"])))
    assert ([column.name for column in labelled.columns], labelled.labels) == (["pid", "application", "seconds"], 2)
    assert labelled.rows[1] == ("4712", "checkout", "NaN")
    wide = pd.DataFrame([[1, 2, 3]], columns=pd.MultiIndex.from_tuples([("p50", "ms"), ("p99", "ms"), ("p99", "n")]))
    assert [column.name for column in shown(as_html(wide)).columns] == ["", "p50 / ms", "p99 / ms", "p99 / n"]
    grouped = pd.DataFrame({"host": ["a", "a", "b"], "disk": [0, 1, 0], "used": [7, 8, 9]}).set_index(["host", "disk"])
    assert [row[:2] for row in shown(as_html(grouped)).rows] == [("a", "0"), ("a", "1"), ("b", "0")]


def test_a_long_data_frame_says_how_much_of_it_pandas_and_the_page_left_out():
    long = pd.DataFrame({"n": range(1_000)})
    table = shown(as_html(long))
    assert (len(table.rows), table.omitted) == (11, 990)
    assert table.columns[1].type == "number"  # the row of dots between head and tail is no text of the column's
    whole = shown(long.to_html(), lines=200)
    assert (len(whole.rows), whole.folded, whole.omitted) == (200, 800, 0)


@pytest.mark.parametrize(
    "html",
    [
        "<table><tr><td>no data frame</td></tr></table>",
        '<table class="dataframe"><tr><td><img src="data:image/png;base64,AAAA"></td></tr></table>',
        '<table class="dataframe"><tr><td><form action="//evil.example"><input></form></td></tr></table>',
        '<table class="dataframe"><tr><td>1</td></tr></table><table class="dataframe"><tr><td>2</td></tr></table>',
        '<table class="dataframe"><tr><td colspan="99999999">1</td></tr></table>',
        '<table class="dataframe"><tr><td rowspan="-1">1</td></tr></table>',
        '<table class="dataframe">' + "<tr>" + "<td colspan=150>1</td>" * 150 + "</tr></table>",
        '<table class="dataframe"><td>1</td></table>',
        '<table class="dataframe"></table>',
        '<table class="dataframe"><tr><td>1</td></tr><tr></tr></table>',
        '<p>Read this first.</p><table class="dataframe"><tr><td>1</td></tr></table>',
        '<table class="dataframe"><![foo[',
        '<table class="dataframe"><!-- 1 --><tr><td>1</td></tr></table>',
        '<table class="dataframe"><tr><td>1 < 2</td></tr></table>',
        f'<table class="dataframe"><tr><td rowspan="1{"0" * 5_000}">1</td></tr></table>',
    ],
)
def test_html_that_is_more_or_less_than_a_table_of_pandas_is_shown_like_any_other(html):
    assert shown(html).kind == "html"


HEAD = '<table class="dataframe"><tbody><tr>'
WIDE = '<td rowspan="9999" colspan="200">'


@pytest.mark.parametrize(
    ("start", "repeated", "kind"),
    [
        ("", "<table ", "html"),
        (HEAD, "<a ", "html"),
        (HEAD, "<td ", "html"),
        (f"{HEAD}<td", ' a="', "html"),
        (f"{HEAD}<td>", "1,", "table"),
        (HEAD, "<td></td>", "html"),
        (f"{HEAD}{WIDE}1</td></tr>", "<tr>", "table"),
        (f"{HEAD}{WIDE}told to many</td></tr>", "<tr>", "html"),
        (f"{HEAD}<p>", "1", "html"),
    ],
)
def test_as_much_html_as_is_read_is_read_once(start, repeated, kind):
    # Read anew from each of its places, some of these would outlast the suite's time limit.
    assert shown(start + repeated * ((LARGEST - len(start)) // len(repeated))).kind == kind


def test_a_table_too_large_to_read_is_shown_like_any_other_html():
    long = pd.DataFrame({"n": range(LARGEST // 50)}).to_html()
    assert len(long) > LARGEST
    whole = shown(long)
    assert (whole.kind, whole.fragment.count("<tr>")) == ("html", LARGEST // 50)


def test_a_column_of_long_digits_is_text():
    digits = ["1" * 64, "1" * 65, "1," * 500]
    table = shown("".join([HEAD, *(f"<td>{given}</td>" for given in digits), "</tr></tbody></table>"]))
    assert [column.type for column in table.columns] == ["number", "text", "text"]


@pytest.mark.parametrize("payload", hostile.PAYLOADS)
def test_what_stands_in_a_data_frame_is_text(payload):
    frame = pd.DataFrame({payload: [payload]}, index=[payload])
    table = shown(as_html(frame))
    assert table.kind == "table"
    assert table.columns[1].name.startswith(table.rows[0][0])
    for html in (frame.to_html(escape=False), f'<table class="dataframe"><tr><td>{payload}</td></tr></table>'):
        assert shown(html).kind in ("table", "html")


def test_a_json_value_opens_branch_by_branch():
    value = {"name": "orders", "replicas": [1, 2.5], "primary": True, "lag": None, "empty": {}, "none": []}
    (piece,) = pieces([display(data={"application/json": value})])
    top = piece.tree
    assert (top.kind, top.size, top.left_out) == ("object", 6, 0)
    assert [(b.name, b.kind, b.text) for b in top.children] == [
        ("name", "text", "orders"),
        ("replicas", "list", ""),
        ("primary", "word", "true"),
        ("lag", "word", "null"),
        ("empty", "object", ""),
        ("none", "list", ""),
    ]
    assert [(b.name, b.text) for b in top.children[1].children] == [("0", "1"), ("1", "2.5")]


def count(branch):
    return 1 + sum(count(child) for child in branch.children)


def test_a_tree_is_bounded_in_breadth_in_depth_and_in_all():
    (wide,) = pieces([display(data={"application/json": {"a": list(range(5_000)), "b": 1}})])
    assert [(b.name, b.left_out) for b in wide.tree.children] == [("a", 5_000 - MOST_CHILDREN), ("b", 0)]
    deep = 1
    for _ in range(40):
        deep = [deep]
    (piece,) = pieces([display(data={"application/json": deep})])
    assert count(piece.tree) == MOST_DEEP + 1
    many = [[[n] * 9 for n in range(40)] for _ in range(40)]
    (bounded,) = pieces([display(data={"application/json": many})], lines=200)
    assert count(bounded.tree) == 201


@pytest.mark.parametrize(
    ("mime", "library"),
    [
        ("application/vnd.plotly.v1+json", "Plotly"),
        ("application/vnd.vegalite.v5+json", "Vega-Lite"),
        ("application/vnd.vega.v5+json", "Vega"),
    ],
)
def test_a_chart_that_wants_a_script_shows_its_image_or_says_that_it_brought_none(mime, library):
    spec = {"data": [{"y": [1, 2]}]}
    page = "<div id=chart></div><script>Plotly.newPlot('chart')</script>"
    (piece,) = pieces([display(data={mime: spec, "text/html": page, "text/plain": "x"})])
    assert (piece.kind, piece.library, piece.spec.tree.size) == ("chart", library, 1)
    (image,) = pieces([display(data={mime: spec, "image/png": png(), "text/html": page})])
    assert image.kind == "image"
    (drawing,) = pieces([display(data={mime: spec, "image/svg+xml": "<svg><path d='M0 0'/></svg>", "text/html": page})])
    assert (drawing.kind, drawing.fragment) == ("html", '<svg><path d="M0 0"></path></svg>')


def test_what_python_says_of_a_figure_is_no_text_for_who_cannot_see_it():
    (nameless,) = pieces([display(data={"image/png": png(), "text/plain": "<Figure size 640x480 with 1 Axes>"})])
    (named,) = pieces([display(data={"image/png": png(), "text/plain": "reads rise < 500 ms"})])
    assert (nameless.alternative, named.alternative) == ("", "reads rise < 500 ms")


MEANWHILE = "During handling of the above exception, another exception occurred:"
RAISED = """\
Cell In[5], line 2
      1 try:
----> 2   f(0)

Cell In[1], line 7, in f(x)
      1 def f(x):
"""


@pytest.mark.parametrize(
    ("traceback", "line"),
    [
        (RAISED, 2),
        (f"{RAISED}\n{MEANWHILE}\n\n{RAISED.replace('2', '4')}", 4),
        ("  Cell In[3], line 1\n    x = = 2\n        ^\nSyntaxError: invalid syntax", 1),
        ("\x1b[31mCell In[3], line 6\x1b[0m", 6),
        ("KeyboardInterrupt", 0),
        ("Cell In[3], line 99999999999999999999", 0),
    ],
)
def test_an_exception_knows_the_line_of_its_cell(traceback, line):
    output = {"output_type": "error", "ename": "E", "evalue": "v", "traceback": traceback.split("\n")}
    (piece,) = pieces([output])
    assert piece.line == line


def test_a_traceback_of_empty_lines_is_read_once():
    output = {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["\n" * 2_000_000]}
    (piece,) = pieces([output])  # read anew from each of its lines, it would outlast the suite's time limit
    assert piece.line == 0
