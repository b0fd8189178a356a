"""Writers are the readers' inverse."""

import csv
import datetime
import decimal
import io
import json
import math

import pandas as pd
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from export.errors import ExportError
from export.writers import FORMATS, Csv, JsonLines, Parquet, Tsv, beside
from model.columns import Columns
from model.data import read_batches, read_labelled

# What files break on: every line end there is, quotes, tabs, blanks at the ends, formulas.
PIECES = ["\r", "\n", "\r\n", '"', '""', "'", "\t", " ", ",", ";", "|", "\\", "\\n", "\ufeff"]
PIECES += ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1a", "\x1b[31m", "\x7f", "\u202e"]
PIECES += [
    "=1+1",
    "+",
    "-1",
    "@x",
    "#",
    "NaN",
    "None",
    "null",
    "007",
    "1e5",
    "true",
    "é",
    "e\u0301",
]
PIECES += ["sep=;", "__label__x", "👩\u200d👧", "我", "a", "<b>", "[/b]", "0"]
WORDS = st.lists(st.sampled_from(PIECES), max_size=5).map("".join) | st.text(max_size=8)
TEXTS = WORDS.filter(lambda text: "\0" not in text)
LABELS = TEXTS.filter(str.strip)
NUMBERS = st.integers() | st.integers(10**25, 10**40) | st.floats()
NESTED = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
HALVES = st.just("\ud800") | st.just("a\udcff")
CELLS = NESTED | HALVES
ROWS = st.lists(st.tuples(TEXTS, LABELS, CELLS, CELLS, WORDS), min_size=1, max_size=8)
NAMES = ["text", "label", "x", "y z", "p_ü"]
EACH = settings(max_examples=30, suppress_health_check=list(HealthCheck), deadline=None)


def write(kind, path, *tables, **options):
    """The writer, after it wrote the tables."""
    writer = kind(path, **options)
    try:
        for table in tables:
            writer.write(table)
    finally:
        writer.close()
    assert not beside(path).exists()
    return writer


def read(path) -> dict[str, list]:
    """All columns, by the reader's defaults."""
    found: dict[str, list] = {}
    for batch in read_batches(str(path), Columns(label=None)):
        for name, cells in batch.columns.items():
            found.setdefault(name, []).extend(cells)
    return found


def tables_of(rows, names=NAMES):
    """The rows as two batches, so that types may change between them."""
    halves = [rows[: len(rows) // 2], rows[len(rows) // 2 :]]
    return [
        dict(zip(names, map(list, zip(*half, strict=True)), strict=True)) for half in halves if half
    ]


def as_cell(value):
    """A value as .csv and .tsv have it: a string."""
    if value is None or isinstance(value, str):
        return (value or "").encode(errors="backslashreplace").decode()
    return repr(value) if isinstance(value, float) else json.loads(as_json(value))


def as_json(value):
    """`finite` of it as text."""
    return json.dumps(finite(value))


def finite(value):
    """The value with null for what JSON has no number for."""
    if isinstance(value, dict):
        return {name: finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@given(rows=ROWS)
@EACH
def test_what_is_written_as_json_lines_is_read_again(tmp_path_factory, rows):
    """Every value, but for NaN and infinity, which are null; each line is JSON to any reader."""
    path = tmp_path_factory.mktemp("written") / "r.jsonl"
    write(JsonLines, path, *tables_of(rows))
    expected = [finite(dict(zip(NAMES, row, strict=True))) for row in rows]
    lines = path.read_bytes().decode().split("\n")
    assert lines.pop() == ""
    assert [json.loads(line, parse_constant=pytest.fail) for line in lines] == expected
    assert all(line.isprintable() for line in lines) or "\\" in str(lines)
    assert read(path) == {name: [row[name] for row in expected] for name in NAMES}


@given(rows=ROWS)
@EACH
def test_what_is_written_as_csv_is_read_again_by_anyone(tmp_path_factory, rows):
    """Heed, Python's csv and pandas see the same cells, whatever line ends are in them."""
    path = tmp_path_factory.mktemp("written") / "r.csv"
    write(Csv, path, *tables_of(rows))
    found = read(path)
    assert list(found) == NAMES
    for place, name in enumerate(NAMES):
        for cell, value in zip(found[name], (row[place] for row in rows), strict=True):
            plain = isinstance(value, str | float) or value is None
            assert (cell if plain else json.loads(cell)) == as_cell(value)
    text = path.read_bytes().decode()
    assert list(csv.DictReader(io.StringIO(text, newline=""))) == [
        dict(zip(NAMES, cells, strict=True)) for cells in zip(*found.values(), strict=True)
    ]
    options = {"dtype": str, "keep_default_na": False, "na_filter": False, "encoding": "utf-8"}
    if "\0" not in text:  # pandas ends a cell there
        assert pd.read_csv(path, **options).to_dict("list") == found


@given(rows=ROWS)
@EACH
def test_what_is_written_as_tsv_is_read_again_or_refused(tmp_path_factory, rows):
    """No quotes: a tab or a line break in a cell ends it, with its row and what to do."""
    path = tmp_path_factory.mktemp("written") / "r.tsv"
    cells = [[as_cell(value) for value in row] for row in rows]
    broken = [n for n, row in enumerate(cells, 1) if any(set(str(c)) & set("\t\r\n") for c in row)]
    if broken:
        with pytest.raises(ExportError, match=rf"^r, row {broken[0]}, column .* write \.csv or"):
            write(Tsv, path, *tables_of(rows))
        return
    write(Tsv, path, *tables_of(rows))
    found = read(path)
    for place, name in enumerate(NAMES):
        for cell, value in zip(found[name], (row[place] for row in rows), strict=True):
            plain = isinstance(value, str | float) or value is None
            assert (cell if plain else json.loads(cell)) == as_cell(value)


@given(rows=ROWS)
@EACH
def test_what_is_written_as_parquet_is_read_again(tmp_path_factory, rows):
    """Values with a type as they are; where no type holds a column it is text, and said."""
    path = tmp_path_factory.mktemp("written") / "r.parquet"
    writer = write(Parquet, path, *tables_of(rows))
    found = read(path)
    for place, name in enumerate(NAMES):
        values = [row[place] for row in rows]
        text = str(pq.read_schema(path).field(name).type) == "string"
        for cell, value in zip(found[name], values, strict=True):
            if value is None:
                assert cell is None
            elif text:
                plain = isinstance(value, str | float)
                loaded = cell if plain else without_nulls(json.loads(cell))
                assert loaded == without_nulls(as_cell(value))
            else:
                assert without_nulls(cell) == without_nulls(value)
        if text and not all(value is None or isinstance(value, str) for value in values):
            assert f"column {name!r} is text: no type of Parquet holds its values" in writer.notes


def without_nulls(value):
    """Objects of one column have the same members in Parquet: null where they had none."""
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [without_nulls(each) for each in value]
    return "nan" if isinstance(value, float) and math.isnan(value) else value


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@given(rows=ROWS)
@settings(EACH, max_examples=10)
def test_labels_that_are_written_are_the_labels_that_are_read(tmp_path_factory, suffix, rows):
    """Texts and labels go to training as they came, but for blanks at the ends of labels."""
    rows = [row for row in rows if row[0].strip()]
    if not rows:
        return
    path = tmp_path_factory.mktemp("written") / f"r{suffix}"
    write(FORMATS[suffix], path, *tables_of(rows))
    data = read_labelled(str(path), Columns())
    assert data.texts == [row[0] for row in rows]


def rows_of(*values, name="n"):
    """A batch of texts beside a column."""
    return {"text": ["a"] * len(values), name: list(values)}


@pytest.mark.parametrize(
    ("first", "second", "kind", "expected"),
    [
        ([1, 2], [2.5], "double", [1.0, 2.0, 2.5]),
        ([None], [3], "int64", [None, 3]),
        ([3], [None], "int64", [3, None]),
        ([1], ["many"], "string", ["1", "many"]),
        ([1], [10**29], "string", ["1", str(10**29)]),
        ([2**53 + 1], [0.5], "string", [str(2**53 + 1), "0.5"]),
        ([True], [1], "string", ["true", "1"]),
        ([["a"]], [{"b": 1}], "string", ['["a"]', '{"b": 1}']),
        ([{"a": 1}], [{"b": "x"}], "struct", [{"a": 1, "b": None}, {"a": None, "b": "x"}]),
        ([{}], [{}], "string", ["{}", "{}"]),
        ([float("nan")], [1], "double", [math.nan, 1.0]),
    ],
)
def test_column_of_parquet_widens_as_its_values_ask(tmp_path, first, second, kind, expected):
    """The rows that were written before are written again: no job ends for such a value."""
    path = tmp_path / "r.parquet"
    writer = write(Parquet, path, rows_of(*first), rows_of(*second))
    assert str(pq.read_schema(path).field("n").type).startswith(kind)
    found = pq.read_table(path).to_pydict()["n"]
    assert str(found) == str(expected)
    assert list(writer.notes) == (
        ["column 'n' is text: no type of Parquet holds its values"] if kind == "string" else []
    )


@pytest.mark.parametrize("kind", [Csv, Tsv, JsonLines, Parquet])
def test_columns_may_come_late_and_stay_away(tmp_path, kind):
    """In whatever order: empty in the rows that lack them."""
    path = tmp_path / next(suffix for suffix, each in FORMATS.items() if each is kind)
    path = path.with_name(f"r{path.name}")
    write(kind, path, rows_of("1", "2"), {"late": ['x", y'], "text": ["b"]}, rows_of("3", name="z"))
    found = read(path)
    assert found["text"] == ["a", "a", "b", "a"]
    assert [cell or None for cell in found["n"]] == ["1", "2", None, None]
    assert [cell or None for cell in found["late"]] == [None, None, 'x", y', None]
    assert [cell or None for cell in found["z"]] == [None, None, None, "3"]


def test_values_of_parquet_have_a_form_in_every_format(tmp_path):
    """Dates as ISO 8601, decimals and bytes as text."""
    row = {
        "text": ["a"],
        "day": [datetime.date(2026, 1, 2)],
        "moment": [datetime.datetime(2026, 1, 2, 3, 4, 5)],
        "price": [decimal.Decimal("1.50")],
        "raw": [b"a\xff"],
    }
    texts = ["a", "2026-01-02", "2026-01-02T03:04:05", "1.50", r"a\xff"]
    for kind, name in ((Csv, "r.csv"), (Tsv, "r.tsv"), (JsonLines, "r.jsonl")):
        write(kind, tmp_path / name, row)
        assert [cells[0] for cells in read(tmp_path / name).values()] == texts
    write(Parquet, tmp_path / "r.parquet", row)
    assert read(tmp_path / "r.parquet") == row


@pytest.mark.parametrize(
    "cell", ["=1+1", "+x", "-a", "@x", "\t=1", "\r=1", "\n=1", "＝1+1", "+1+2"]
)
def test_formulas_are_escaped_on_request(tmp_path, cell):
    """In cells and names of columns, by a quote; what is a number stays one."""
    write(Csv, tmp_path / "r.csv", rows_of(cell, "-1.5", "+49 %", "a=1", -3, name=cell))
    assert read(tmp_path / "r.csv")[cell] == [cell, "-1.5", "+49 %", "a=1", "-3"]
    write(Csv, tmp_path / "e.csv", rows_of(cell, "-1.5", "+49 %", "a=1", -3), escape_formulas=True)
    assert read(tmp_path / "e.csv")["n"] == [f"'{cell}", "-1.5", "+49 %", "a=1", "-3"]


def test_arrow_reads_the_csv(tmp_path):
    """And so do the libraries that use its reader."""
    cells = ["a\rb", "a\nb", "a\r\nb", '"', ",", " x ", ""]
    write(Csv, tmp_path / "r.csv", rows_of(*cells))
    options = pyarrow.csv.ParseOptions(newlines_in_values=True)
    assert pyarrow.csv.read_csv(tmp_path / "r.csv", parse_options=options)["n"].to_pylist() == cells
