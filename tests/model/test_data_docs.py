"""The table of formats and options in docs/data.md: a file is read for each of its cells."""

import bz2
import csv
import gzip
import io
import json
import lzma
import re
from pathlib import Path

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


def table() -> dict[str, dict[str, str]]:
    """Each cell by the first format of its row and the option of its column."""
    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    lines = text[text.index("| format |") :].split("\n\n")[0].splitlines()
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    names = [re.findall(r"`--(\w+)", cell)[:1] for cell in header[1:]]
    cells = {}
    for row in rows:
        for kind in re.findall(r"`\.(\w+)`", row[0]):
            cells[kind] = {name: cell for (name, *_), cell in zip(names, row[1:], strict=True)}
    return cells


TABLE = table()


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
