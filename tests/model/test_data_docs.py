"""The tables of reading in docs/data.md: a file is read for each of their cells."""

import bz2
import csv
import gzip
import io
import json
import lzma
import re
import unicodedata
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.columns import Columns, DataError
from model.data import read_batches
from model.lines import PARSERS

ROWS = [("first text", "x"), ("zweiter Täxt", "y")]
OPTIONS = {
    "delimiter": ({"delimiter": ";"}, {"delimiter": ";"}),
    "quoting": ({"quoting": False}, {"quoting": False}),
    "header": ({"header": False, "text": ("0",), "label": "1"}, {"header": False}),
    "encoding": ({"encoding": "cp1252"}, {"encoding": "cp1252"}),
}  # what the reader is asked, and how the file is made


def rows_of(corner: str) -> list[list[str]]:
    """The cells of the table whose first cell is `corner`, with its header."""
    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    lines = text[text.index(f"| {corner} |") :].split("\n\n")[0].splitlines()
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [header, *rows]


def table() -> dict[str, dict[str, str]]:
    """Each cell by the first format of its row and the option of its column."""
    header, *rows = rows_of("format")
    names = [re.findall(r"`--(\w+)", cell)[:1] for cell in header[1:]]
    cells = {}
    for row in rows:
        for kind in re.findall(r"`\.(\w+)`", row[0]):
            cells[kind] = {name: cell for (name, *_), cell in zip(names, row[1:], strict=True)}
    return cells


TABLE = table()
FOUND = dict(rows_of("in the file")[1:])
LABELS = dict(rows_of("label")[1:])
HEAD = "text,label\n"
MANY = HEAD + "".join(f"t{number},x\n" for number in range(3))
CASES = {
    "bytes that are not UTF-8": ("a.csv", (HEAD + "é,x\n").encode("cp1252"), {}, "line 2.*cp1252"),
    "UTF-16 or UTF-32 with a byte order mark": ("a.csv", MANY.encode("utf-16"), {}, "UTF-16"),
    "UTF-16 without a byte order mark": (
        "a.csv",
        MANY.encode("utf-16-le"),
        {},
        "--encoding utf-16-le",
    ),
    "lines that end at CR": ("a.csv", MANY.replace("\n", "\r"), {}, ""),
    "a first line `sep=;` as Excel writes it": (
        "a.csv",
        "sep=;\n" + MANY.replace(",", ";"),
        {},
        "';', as its line sep= says",
    ),
    "CSV cells that look like several rows": (
        "a.csv",
        HEAD + '"a,x\nb,x\n c",x\n' + MANY[len(HEAD) :],
        {},
        "line 2.*--no-quoting",
    ),
    "TSV cells that look quoted": (
        "a.tsv",
        'text\tlabel\n"a ""b"""\tx\n',
        {},
        "line 2.*--quoting",
    ),
    "a quote that is never closed": ("a.csv", HEAD + 'a,x\n"b,x\n', {}, "line 3.*not closed"),
    "rows with more or fewer cells, no text, no label, NUL": (
        "a.csv",
        HEAD + "a\na,x,y\n,x\na,\n\0,x\n",
        {},
        "row 1.*row 2.*row 3.*row 4.*row 5.*--skip-bad",
    ),
    "positions as columns, and a first row that looks like a header": (
        "a.csv",
        MANY,
        {"text": ("0",), "label": "1"},
        "--header.*--no-header",
    ),
    "blank lines between rows": ("a.csv", HEAD + "a,x\n\nb,x\n", {}, "line 3: blank lines"),
    "blank lines in `.txt`": ("a.txt", "a\n\nb\n", {"label": None}, ""),
    "a name twice in a JSON object": (
        "a.jsonl",
        '{"text": "a", "text": "b", "label": "x"}\n',
        {},
        "'text' twice",
    ),
    "a column asked for that is twice in the header": (
        "a.csv",
        "text,text,label\na,b,x\n",
        {},
        "more than one column 'text'",
    ),
    "several `__label__` in a line": ("a.ft", "__label__x __label__y a\n", {}, "one label a row"),
}  # what is read, with which options, and what is said


def write(path: Path, kind: str, layout: dict, rows=ROWS) -> str:
    """The rows as a file of that format."""
    encoding = layout.get("encoding", "utf-8")
    objects = [{"text": text, "label": label} for text, label in rows]
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(objects), path)
        return str(path)
    if kind in {"csv", "tsv"}:
        out = io.StringIO()
        delimiter = layout.get("delimiter", "," if kind == "csv" else "\t")
        table = csv.writer(out, delimiter=delimiter, lineterminator="\n")
        table.writerows([*([("text", "label")] if layout.get("header", True) else []), *rows])
        content = out.getvalue()
    elif kind == "json":
        content = json.dumps(objects, ensure_ascii=False)
    elif kind in {"txt", "ft"}:
        content = "".join(f"__label__{label} {text}\n" for text, label in rows)
    else:
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in objects)
    path.write_bytes(content.encode(encoding))
    return str(path)


def read(source: str, **asked) -> tuple[list[tuple[str, str]], list[str]]:
    """Its rows, and what was said."""
    told: list[str] = []
    batches = list(read_batches(source, Columns(**asked), tell=told.append))
    rows = [row for batch in batches for row in zip(batch.texts, batch.labels or (), strict=True)]
    return rows, told


def test_table_has_every_format():
    """And every option of reading."""
    assert TABLE.keys() == {*PARSERS, "parquet"}
    columns = ["delimiter", "quoting", "header", "encoding", "format", "text", "skip"]
    assert all(list(cells) == columns for cells in TABLE.values())


@pytest.mark.parametrize("kind", TABLE)
@pytest.mark.parametrize("option", OPTIONS)
def test_option_is_used_or_said_not_to_be(tmp_path, kind, option):
    """A file that needs the option is read with it; where it has no meaning, that is said."""
    asked, layout = OPTIONS[option]
    used = TABLE[kind][option].startswith("yes")
    source = write(tmp_path / f"a.{kind}", kind, layout if used else {})
    if not used:
        asked = {option: asked[option]}
    rows, told = read(source, **asked)
    assert rows == ROWS
    assert [f"--{option} not used" in line for line in told] == ([] if used else [True])


@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_quoting_is_the_default_that_the_table_says(tmp_path, kind):
    """Quotes are taken off, or are characters."""
    mark = "," if kind == "csv" else "\t"
    (tmp_path / f"a.{kind}").write_text(f'text{mark}label\n"a"{mark}x\n', encoding="utf-8")
    plain, quoted = '"a"', "a"
    source = str(tmp_path / f"a.{kind}")
    default = quoted if "the default" in TABLE[kind]["quoting"] else plain
    assert read(source)[0] == [(default, "x")]
    assert read(source, quoting=True)[0] == [(quoted, "x")]
    assert read(source, quoting=False)[0] == [(plain, "x")]


@pytest.mark.parametrize("kind", TABLE)
def test_format_stands_for_the_suffix(tmp_path, kind):
    """Of a file that has none."""
    assert TABLE[kind]["format"] == "yes"
    source = write(tmp_path / "a", kind, {})
    with pytest.raises(DataError, match="unknown format"):
        read(source)
    assert read(source, format=kind)[0] == ROWS


@pytest.mark.parametrize("kind", TABLE)
def test_columns_are_asked_for_as_the_table_says(tmp_path, kind):
    """By names, also by positions, or by any name where there are no columns."""
    source = write(tmp_path / f"a.{kind}", kind, {})
    cell = TABLE[kind]["text"]
    assert read(source, text=("text",), label="label")[0] == ROWS
    if "positions" in cell:
        assert read(source, text=("0",), label="1", header=True)[0] == ROWS
    elif cell == "names":
        with pytest.raises(DataError, match="no column '0'"):
            read(source, text=("0",), label="label")
    else:
        assert read(source, text=("0",), label="z")[0] == ROWS


@pytest.mark.parametrize("kind", TABLE)
def test_bad_rows_are_left_out_where_the_table_says(tmp_path, kind):
    """A row without text, in every format."""
    assert TABLE[kind]["skip"] == "yes"
    source = write(tmp_path / f"a.{kind}", kind, {}, [*ROWS, (" ", "x"), ("last", "x")])
    with pytest.raises(DataError, match=r"row 3( \(.*\))?: the text is empty$"):
        read(source)
    rows, told = read(source, skip_bad=True)
    assert rows == [*ROWS, ("last", "x")]
    assert "1 bad row is left out" in told[0]


@pytest.mark.parametrize("kind", TABLE)
@pytest.mark.parametrize("packed", ["gz", "bz2", "xz"])
def test_every_format_is_read_packed(tmp_path, kind, packed):
    """By the suffix."""
    content = Path(write(tmp_path / f"b.{kind}", kind, {})).read_bytes()
    path = tmp_path / f"a.{kind}.{packed}"
    path.write_bytes({"gz": gzip, "bz2": bz2, "xz": lzma}[packed].compress(content))
    assert read(str(path))[0] == ROWS


def test_every_case_of_the_docs_is_tried():
    """And no case is left that the docs have dropped."""
    assert FOUND.keys() == CASES.keys()


@pytest.mark.parametrize("case", CASES)
def test_what_is_in_the_file_is_read_said_or_refused(tmp_path, case):
    """As the table says, and in these words."""
    name, content, asked, words = CASES[case]
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    told: list[str] = []
    batches = read_batches(str(path), Columns(**asked), tell=told.append)
    if FOUND[case].startswith("refused"):
        with pytest.raises(DataError, match=words):
            list(batches)
        return
    assert FOUND[case].startswith("read")
    assert sum(len(batch.texts) for batch in batches) > 0
    assert ("said" in FOUND[case]) == bool(words)
    assert [bool(re.search(words, line)) for line in told] == ([True] if words else [])


@pytest.mark.parametrize("cell", LABELS)
def test_label_is_read_as_the_docs_say(tmp_path, cell):
    """Or refused, where it is none."""
    path = tmp_path / "a.jsonl"
    value = unicodedata.normalize("NFD", cell.strip("`"))
    path.write_text(f'{{"text": "a", "label": {value}}}\n', encoding="utf-8")
    if LABELS[cell].startswith("refused"):
        with pytest.raises(DataError, match="column 'label' holds"):
            read(str(path))
    else:
        assert [label for _, label in read(str(path))[0]] == re.findall("^`(.*?)`", LABELS[cell])


def test_delimiter_that_is_given_goes_before_the_line_sep(tmp_path):
    """Both are said, so that nobody wonders."""
    path = tmp_path / "a.csv"
    path.write_text("sep=;\ntext,label\na;b,x\n", encoding="utf-8")
    rows, told = read(str(path), delimiter=",")
    assert rows == [("a;b", "x")]
    assert "as --delimiter says, not its line sep=" in told[0]


def test_format_holds_for_all_files_of_a_folder(tmp_path):
    """Texts without suffix have the folder as label; other columns are refused as of .csv."""
    for label in ("x", "y"):
        (tmp_path / "texts" / label).mkdir(parents=True)
        (tmp_path / "texts" / label / "1").write_text(f"a {label}\n", encoding="utf-8")
    texts = str(tmp_path / "texts")
    assert read(texts, format="txt")[0] == [("a x", "x"), ("a y", "y")]
    with pytest.raises(DataError, match=r"x/1: no column 'text'"):
        read(texts, format="csv")
    (tmp_path / "tables").mkdir()
    for name, content in (("a.1", HEAD + "a,x\n"), ("a.2", "text,label,more\na,x,1\n")):
        (tmp_path / "tables" / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.2: has the columns"):
        read(str(tmp_path / "tables"), format="csv")


@pytest.mark.parametrize("source", ["-", "a"])
def test_format_that_is_unknown_is_refused_with_those_there_are(tmp_path, monkeypatch, source):
    """Also of stdin."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").touch()
    with pytest.raises(DataError, match=r"unknown --format 'CSV'; expected csv, tsv, .*parquet$"):
        read(source, format="CSV")


def test_hub_says_which_options_it_has_no_use_for(monkeypatch):
    """A data set there has a format of its own."""

    def unreachable(**options):
        raise ConnectionError

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    told: list[str] = []
    with pytest.raises(DataError, match="the hub"):
        list(read_batches("a/b", Columns(format="csv", delimiter=";"), tell=told.append))
    assert "a/b: --delimiter, --format not used: the hub has no such thing" in told
