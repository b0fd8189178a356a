"""CSV, TSV, JSONL and text: what was written is what is read, and errors name the line."""

import csv
import gzip
import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.data import Columns, DataError, read_batches, read_labelled

CHARACTERS = st.characters(exclude_characters="\0", exclude_categories=("Cs",))
FILLED = st.text(CHARACTERS, min_size=1).filter(str.strip)
LABELLED = st.lists(st.tuples(FILLED, FILLED), min_size=1, max_size=8)
SAME_FOLDER = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def write(path: Path, content: str | bytes) -> str:
    """A file of that content, packed if its name says so."""
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


def error_of(source: str, columns: Columns | None = None) -> str:
    """What is wrong with a source, without its name, which has to come first."""
    with pytest.raises(DataError) as caught:
        read_labelled(source, columns or Columns())
    message = str(caught.value)
    assert message.startswith(source)
    assert "\n" not in message
    return message.removeprefix(source)


def spelt(rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The rows with labels as they are read: without outer blanks, NFC."""
    return [(text, unicodedata.normalize("NFC", label.strip())) for text, label in rows]


@SAME_FOLDER
@given(rows=LABELLED, delimiter=st.sampled_from(",;\t|"), suffix=st.sampled_from(["", ".gz"]))
def test_csv_gives_back_what_was_written(tmp_path, rows, delimiter, suffix):
    """Quotes, line ends, delimiters and any script survive, in the label as in the text."""
    plain = tmp_path / "a.csv"
    with plain.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, delimiter=delimiter).writerows([("text", "label"), *rows])
    source = write(tmp_path / f"b.csv{suffix}", plain.read_bytes())
    data = read_labelled(source, Columns(delimiter=delimiter))
    assert list(zip(data.texts, data.labels, strict=True)) == spelt(rows)


@SAME_FOLDER
@given(rows=LABELLED, ascii_only=st.booleans())
def test_jsonl_gives_back_what_was_written(tmp_path, rows, ascii_only):
    """Texts and labels survive, escaped or not."""
    lines = [json.dumps({"text": t, "label": n}, ensure_ascii=ascii_only) for t, n in rows]
    data = read_labelled(write(tmp_path / "a.jsonl", "\n".join(lines)), Columns())
    assert list(zip(data.texts, data.labels, strict=True)) == spelt(rows)


@pytest.mark.parametrize("label", ["1", "01", "1.0", "NA", "null", "None", "nan", "true", "-"])
def test_csv_label_stays_the_string_it_is(tmp_path, label):
    """Nothing in a CSV file is a number, a truth value or missing."""
    data = read_labelled(write(tmp_path / "a.csv", f"text,label\nNA,{label}\n"), Columns())
    assert (data.texts, data.labels) == (["NA"], [label])


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_byte_order_mark_and_line_ends_belong_to_no_cell(tmp_path, end, start, suffix):
    """A file of a spreadsheet on Windows reads like one written here; blank lines are no rows."""
    content = end.join(["text\tlabel", "a\tx", "", '"b ""c"""\ty', "", ""]).encode()
    source = write(tmp_path / f"a.tsv{suffix}", start + content)
    data = read_labelled(source, Columns(quoting=True))
    assert (data.texts, data.labels) == (["a", 'b "c"'], ["x", "y"])


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json", "a.JSONL.gz"])
def test_json_integers_and_truth_values_are_labels(tmp_path, name):
    """A label may change its type from row to row; dates stay texts."""
    source = write(
        tmp_path / name,
        '{"text": "2020-01-01", "label": 1}\n\n{"label": true, "text": "b"}\n'
        '{"text": "c", "label": "01", "more": {"d": [1]}}',
    )
    data = read_labelled(source, Columns())
    assert (data.texts, data.labels) == (["2020-01-01", "b", "c"], ["1", "true", "01"])


@pytest.mark.parametrize(
    ("content", "header", "expected"),
    [
        ("good,x\nbad,y\n", None, ["good", "bad"]),
        ("0,1\nbad,y\n", None, ["bad"]),
        ("0,1\nbad,y\n", False, ["0", "bad"]),
        ("good,x\nbad,y\n", False, ["good", "bad"]),
    ],
)
def test_positions_mean_that_there_is_no_header(tmp_path, content, header, expected):
    """Unless the first row has these very names, or the user said which it is."""
    columns = Columns(text=("0",), label="1", header=header)
    assert read_labelled(write(tmp_path / "a.csv", content), columns).texts == expected


def test_positions_are_columns_below_a_header_too(tmp_path):
    """The header is left out, and the columns are called by what was asked for."""
    source = write(tmp_path / "a.csv", "text,label\na,x\n")
    data = read_labelled(source, Columns(text=("0",), label="1", header=True))
    assert (data.texts, data.labels) == (["a"], ["x"])


def test_header_like_first_row_is_asked_about(tmp_path):
    """Positions mean no header; a first row that seems to be one is neither learned nor lost."""
    source = write(tmp_path / "a.csv", "Review Text,Label\na,x\n")
    columns = Columns(text=("0",), label="1")
    assert "looks like a header; say --header if it is, --no-header" in error_of(source, columns)
    rows = "".join(f"text {n},{'xyz'[n % 3]}\n" for n in range(30))
    source = write(tmp_path / "b.csv", "Phrase,Polarity\n" + rows)
    assert "only the first row has the label 'Polarity'" in error_of(source, columns)


def test_missing_column_lists_those_found(tmp_path):
    """A long header is cut."""
    header = ",".join(["text", *(f"column{i}" for i in range(30))])
    message = error_of(write(tmp_path / "a.csv", header + "\n"))
    assert message.startswith(": no column 'label'; columns found: 'text', 'column0'")
    assert "and 19 more" in message


@pytest.mark.parametrize(
    ("header", "asked", "hint"),
    [
        ("Text,Label", {}, "did you mean --text-column Text?"),
        ("Betreff,label", {}, "name it with --text-column"),
        (" text ,label", {}, "did you mean --text-column ' text '?"),
        ("text,Klasse", {}, "name it with --label-column"),
        ("text,my label", {}, "did you mean --label-column 'my label'?"),
        ("text,a,b,c", {}, "name it with --label-column (several 0/1 columns, one a label, are"),
        ("text;label", {}, "is the delimiter another one (--delimiter)?"),
        ("a,b", {"header": False}, "without a header the columns are --text-column 0 --label"),
    ],
)
def test_missing_column_comes_with_the_option_that_names_it(tmp_path, header, asked, hint):
    """Case apart, and near misses; several columns of 0 and 1 are another task."""
    source = write(tmp_path / "a.csv", f"{header}\na,b\n")
    assert f"; {hint}" in error_of(source, Columns(**asked))


def test_first_row_of_data_is_recognised(tmp_path):
    """The message says how to read a file without header."""
    message = error_of(write(tmp_path / "a.csv", "I lost my card,card\nwhere is it now,card\n"))
    assert message.endswith("--no-header --text-column 0 --label-column 1")


def test_other_delimiter_is_recognised(tmp_path):
    """A semicolon in the only name of the header is likely the delimiter."""
    assert "--delimiter" in error_of(write(tmp_path / "a.csv", "text;label\na;x\n"))


def test_column_asked_for_occurs_once(tmp_path):
    """Two columns of one name are an error, unless nobody asks for them."""
    assert "more than one column 'text'" in error_of(write(tmp_path / "a.csv", "text,label,text\n"))
    source = write(tmp_path / "b.csv", "text,label,id,id\na,x,1,2\n")
    (batch,) = read_batches(source, Columns())
    assert batch.columns == {"text": ["a"], "label": ["x"], "id": ["1"], "id.3": ["2"]}


@pytest.mark.parametrize(
    ("text", "parts"), [(("text", "label"), "both as text and as label"), (("a", "a"), "twice")]
)
def test_column_is_asked_for_once(text, parts):
    """A label within the text would be learned by heart."""
    with pytest.raises(DataError, match=f"is asked for {parts}"):
        Columns(text=text)


def test_unusable_delimiter_is_an_error(tmp_path):
    """It has to be one character."""
    source = write(tmp_path / "a.csv", "text,label\na,x\n")
    assert "delimiter ',,' cannot be used" in error_of(source, Columns(delimiter=",,"))


def test_quote_that_makes_a_row_longer_is_named(tmp_path):
    """The cause is not where the cells are too many."""
    source = write(tmp_path / "a.csv", 'label,text\nx,"one\ny,two\nx,three",four\n')
    assert "of 3 cells; expected 2, as in the first row; is a quote not" in error_of(source)


def test_hint_for_quoted_names_of_tsv(tmp_path):
    """R and pandas quote all cells on request."""
    source = write(tmp_path / "a.tsv", '"text"\t"label"\n"a"\t"x"\n')
    assert error_of(source).endswith("; cells seem to be quoted: --quoting")


@pytest.mark.parametrize("content", [{"text": ["a", "b"], "label": ["x", "y"]}, {"data": [{}]}])
def test_object_of_all_rows_is_no_row(tmp_path, content):
    """What pandas writes by default, or rows within something else."""
    message = error_of(write(tmp_path / "a.json", json.dumps(content)))
    assert message.startswith(": is one object that holds all rows; expected an array of objects")


def test_array_in_jsonl_is_told_of(tmp_path):
    """Its name says otherwise."""
    source = write(tmp_path / "a.jsonl", json.dumps([{"text": "a", "label": "x"}]))
    assert error_of(source).endswith("expected one object a line, or --format json for an array")


def test_bytes_of_no_text_are_not_taken_for_utf16(tmp_path):
    """An image has its zeros anywhere."""
    assert "holds bytes of 0: is it" in error_of(write(tmp_path / "a.csv", b"\x89PNG" + bytes(50)))


@pytest.mark.parametrize("row", ["c,y,z", "c"])
def test_row_of_other_length_names_its_line(tmp_path, row):
    """The line counts the line ends inside of quotes, too."""
    source = write(tmp_path / "a.csv", f'text,label\n"a\nb",x\n{row}\n')
    count = len(row.split(","))
    assert error_of(source) == (
        f", row 2 (line 4): malformed row of {count} cells; expected 2, as in the first row"
    )


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ('"a" b,x', "(',' expected after '\"'); are quotes doubled?"),
        ("a\rb,x", "(a CR without LF outside of quotes); do some lines end in CR?"),
    ],
)
def test_wrong_quotes_name_the_line_where_the_row_starts(tmp_path, row, problem):
    """The row is one bad row; those behind it are read."""
    source = write(tmp_path / "a.csv", f"text,label\nfine,x\n{row}\nlast,y\n")
    message = error_of(source)
    assert message.startswith(f", row 2 (line 3): malformed row {problem}")
    assert read_labelled(source, Columns(skip_bad=True)).texts == ["fine", "last"]


@pytest.mark.parametrize("skip_bad", [True, False])
def test_quote_that_is_never_closed_ends_the_source(tmp_path, skip_bad):
    """It must not swallow the rest of the file unnoticed."""
    source = write(tmp_path / "a.csv", 'text,label\nfine,x\n"open,x\nmore,y\n')
    message = error_of(source, Columns(skip_bad=skip_bad))
    assert message.startswith(", line 3: a quote that is opened here is not closed")


def test_cell_that_swallowed_rows_is_told(tmp_path):
    """Two quotes at the begin of texts far apart make one cell of the rows between."""
    rows = [f"text {n},x" for n in range(5)]
    rows[1], rows[3] = '"text 1,x', 'text 3 ends",y'
    source = write(tmp_path / "a.csv", "\n".join(["text,label", *rows]))
    (note,) = read_labelled(source, Columns()).notes
    assert note.startswith(f"{source}, line 3: a cell holds what looks like several rows")
    source = write(tmp_path / "b.csv", 'text,label\n"Dear all,\nit is, as I said,\nlost",x\n')
    assert read_labelled(source, Columns()).notes == ()


def test_tsv_takes_quotes_as_characters(tmp_path):
    """Most TSV is so; cells that are quoted all the same are told of."""
    source = write(tmp_path / "a.tsv", 'text\tlabel\n"a" he said\tx\nsaid "b"\ty\n"c\tz\n')
    data = read_labelled(source, Columns())
    assert (data.texts, data.notes) == (['"a" he said', 'said "b"', '"c'], ())
    source = write(tmp_path / "b.tsv", 'text\tlabel\n"a ""b"""\tx\n')
    assert "--quoting takes them" in read_labelled(source, Columns()).notes[0]
    assert read_labelled(source, Columns(quoting=True)).texts == ['a "b"']


def test_line_that_names_the_delimiter_is_no_row(tmp_path):
    """Excel writes it above a table."""
    data = read_labelled(write(tmp_path / "a.csv", "sep=;\r\ntext;label\r\na,b;x\r\n"), Columns())
    assert (data.texts, data.labels, data.rows) == (["a,b"], ["x"], [1])
    assert "the delimiter is ';'" in data.notes[0]


def test_file_whose_lines_end_in_cr_is_read(tmp_path):
    """Old spreadsheets on a Mac write so."""
    content = 'text,label\ra,x\r"b\rc",y\r'
    assert read_labelled(write(tmp_path / "a.csv", content), Columns()).texts == ["a", "b\rc"]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-8-sig", "shift-jis", "utf-16-be"])
def test_encoding_is_that_which_is_named(tmp_path, encoding):
    """The same rows in each; errors of a wrong one name it."""
    text = "テスト" if encoding == "shift-jis" else "café"
    source = write(tmp_path / "a.csv", f"text,label\n{text},x\n".encode(encoding))
    assert read_labelled(source, Columns(encoding=encoding)).texts == [text]


@pytest.mark.parametrize("encoding", ["none", "rot13", "base64", "unicode_escape", "idna", ""])
def test_what_is_no_encoding_of_texts_is_refused(encoding):
    """Python knows transformations that are none."""
    with pytest.raises(DataError, match="unknown encoding"):
        Columns(encoding=encoding)


def test_utf16_is_read_by_its_byte_order_mark(tmp_path):
    """Without one the message says what to try."""
    source = write(tmp_path / "a.tsv", "text\tlabel\nä\tx\n".encode("utf-16"))
    data = read_labelled(source, Columns())
    assert (data.texts, len(data.notes)) == (["ä"], 1)
    source = write(tmp_path / "b.csv", "text,label\na,x\n".encode("utf-16-le"))
    assert "try --encoding utf-16-le" in error_of(source)


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"PK\x03\x04", "a workbook (.xlsx: save it as CSV UTF-8)"),
        (b"\xd0\xcf\x11\xe0", "save it as CSV UTF-8"),
        (b"\x1f\x8b\x08", "packed by gzip (.gz)"),
        (b"PAR1", "Parquet (.parquet)"),
    ],
)
def test_file_of_another_kind_is_told_by_its_first_bytes(tmp_path, start, what):
    """Renaming a workbook makes no CSV of it."""
    message = error_of(write(tmp_path / "a.csv", start + b"\x00\x01text,label\n"))
    assert message.startswith(": is ")
    assert what in message


def test_one_object_over_several_lines_is_no_row(tmp_path):
    """As `json.dump(..., indent=1)` writes it."""
    source = write(tmp_path / "a.json", json.dumps({"data": [{"text": "a"}]}, indent=1))
    expected = "expected an array of objects, or an object a line"
    assert error_of(source) == f": is one object over several lines; {expected}"


def test_array_of_objects_is_read(tmp_path):
    """Also over several lines; what is no object is a bad row."""
    rows = [{"text": "a", "label": "x"}, 5, {"text": "b", "label": "y"}]
    source = write(tmp_path / "a.json", json.dumps(rows, indent=1))
    assert error_of(source).startswith(", row 2: found int, not an object")
    assert read_labelled(source, Columns(skip_bad=True)).rows == [1, 3]


def test_lines_of_fasttext_are_read(tmp_path):
    """One label a line; several are refused by name."""
    source = write(tmp_path / "a.txt", "__label__x a b\n__label__y __z c\n")
    data = read_labelled(source, Columns())
    assert list(zip(data.texts, data.labels, strict=True)) == [("a b", "x"), ("__z c", "y")]
    (batch,) = read_batches(source, Columns(label=None))
    assert batch.texts == data.texts
    source = write(tmp_path / "b.txt", "__label__x __label__y a\n")
    assert "several labels a row" in error_of(source)


def test_blank_lines_between_rows_are_told_of(tmp_path):
    """They are no rows, but in a file of one column each is one, as in a text file."""
    source = write(tmp_path / "a.csv", "text,label\na,x\n\nb,y\n\n")
    assert read_labelled(source, Columns()).notes == (f"{source}, line 3: blank lines are no rows",)
    (batch,) = read_batches(write(tmp_path / "b.csv", "text\na\n\nb\n"), Columns(label=None))
    assert batch.texts == ["a", "", "b"]


def test_long_text_is_read(tmp_path):
    """A text may be longer than what Python's csv takes by default."""
    source = write(tmp_path / "a.csv", f"text,label\n{'long ' * 100_000},x\n")
    assert len(read_labelled(source, Columns()).texts[0]) == 500_000


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl"])
def test_wrong_encoding_names_line_and_offset(tmp_path, name):
    """The offset is counted in bytes of the unpacked file."""
    lines = ["text,label", "é,x", "caf"] if "csv" in name else ['{"a": 1}', '{"a": "é"}', "caf"]
    content = "\n".join(lines).encode() + b"\xe9,x\n"
    offset = content.index(b"\xe9,")
    message = error_of(write(tmp_path / name, content), Columns(text=("text",)))
    problem = f", line 3: byte 0xe9 at offset {offset} is not UTF-8; expected a UTF-8 file"
    assert message.startswith(problem)
    assert "--encoding cp1252" in message


@pytest.mark.parametrize("line", ['{"text": "b", "label"', "[]", '"b"', "{}", "[" * 100_000])
def test_malformed_json_names_its_line(tmp_path, line):
    """Each line has to be an object that is not empty."""
    source = write(tmp_path / "a.jsonl", f'{{"text": "a", "label": "x"}}\n\n{line}\n')
    message = error_of(source)
    assert message.startswith(", row 2 (line 3): is not a JSON object (")


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(b"text,label\n" * 99)[:-12]])
def test_corrupt_gzip_is_an_error(tmp_path, content):
    """Neither something else nor a part of a file is taken for a gzip file."""
    path = tmp_path / "a.csv.gz"
    path.write_bytes(content)
    assert error_of(str(path)).startswith(": cannot be read (")
