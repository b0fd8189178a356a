"""Which texts a file holds, and how a bad file is refused."""

import gzip
import random
from collections import Counter
from pathlib import Path

import pytest

from loadtest.texts import TextsError, iter_texts, read_texts, sample
from model.columns import Columns


def test_built_in_texts_are_about_fifty_distinct_ones_short_and_long() -> None:
    """Without a file, customer messages of one word up to a long paragraph are sent."""
    texts = read_texts()
    assert 45 <= len(set(texts)) == len(texts) <= 60
    assert min(map(len, texts)) < 10
    assert max(map(len, texts)) > 500


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("texts.txt", "one\n\n  two\u2028half \r\n"),
        ("texts", "one\ntwo\u2028half"),
        ("texts.csv", 'label,text\na,one\nb,"two\u2028half"\nc,\n'),
        ("texts.tsv", "label\ttext\na\tone\nb\ttwo\u2028half\n"),
        ("texts.CSV", "\ufefftext\none\ntwo\u2028half\n"),
        ("texts.jsonl", '{"text": "one"}\n\n{"text": "two\u2028half", "label": 1}\n'),
    ],
)
def test_each_format_gives_the_same_texts_without_blank_ones(
    tmp_path: Path, name: str, content: str
) -> None:
    """The ending decides how a file is read; gzipped it reads the same."""
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content.encode()))
    assert read_texts(tmp_path / name) == ["one", "two\u2028half"]
    assert read_texts(tmp_path / f"{name}.gz") == ["one", "two\u2028half"]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.txt", b"\n \n", "holds no text"),
        ("other.csv", b"label,title\na,b\n", "no column 'text'; columns found: 'label', 'title'"),
        ("empty.csv", b"", "holds no rows"),
        (
            "other.jsonl",
            b'{"text": "a"}\n{"text": 5}\n',
            "row 2 (line 2): column 'text' holds int 5",
        ),
        ("broken.jsonl", b"{", "row 1 (line 1): is not a JSON object"),
        ("texts.parquet", b"PAR1", "cannot be read"),
        ("texts.odd", b"a", "unknown format; expected .csv"),
        ("latin.txt", b"caf\xe9", "at offset 3 is not UTF-8"),
        ("broken.txt.gz", b"no gzip", "Not a gzipped file"),
        ("cut.txt.gz", gzip.compress(b"one")[:-9], "Compressed file ended"),
    ],
)
def test_unusable_file_is_refused_with_its_name_and_the_reason(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    """Whatever is wrong with a file, the error is a TextsError that says what."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(TextsError) as caught:
        read_texts(path)
    assert name in str(caught.value)
    assert reason in str(caught.value)


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    """A path that is no file is named in the error."""
    with pytest.raises(TextsError, match=r"none\.txt: file not found"):
        read_texts(tmp_path / "none.txt")
    with pytest.raises(TextsError, match="holds no file that can be read"):
        read_texts(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", "text,body\nno,one\n"),
        ("t.tsv", "text\tbody\nno\tone\n"),
        ("t.jsonl", '{"text": "no", "body": "one"}'),
    ],
)
def test_texts_come_from_the_column_that_is_asked_for(
    tmp_path: Path, name: str, content: str
) -> None:
    """Any column may hold them; one that is not there is named."""
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    assert read_texts(path, Columns(("body",), None)) == ["one"]
    with pytest.raises(TextsError, match="'title'"):
        read_texts(path, Columns(("title",), None))


def test_quoted_line_breaks_and_bare_returns_are_read_as_csv_readers_do(tmp_path: Path) -> None:
    """A line break inside quotes is part of a text; a bare return ends a row."""
    path = tmp_path / "t.csv"
    path.write_bytes(b'text\r"one\r\ntwo"\rthree\r')
    assert read_texts(path) == ["one\r\ntwo", "three"]


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_texts_stream_and_a_late_error_still_names_its_byte(tmp_path: Path, ending: str) -> None:
    """The first text is there before the rest is read; the bad byte counts from the begin."""
    content = "\ufeffgood\n".encode() * 5000 + b"caf\xe9\n"
    path = tmp_path / f"t.txt{ending}"
    path.write_bytes(gzip.compress(content) if ending else content)
    texts = iter_texts(path)
    assert next(texts) == "good"
    with pytest.raises(TextsError, match=f"at offset {len(content) - 2} is not UTF-8"):
        list(texts)


def test_sample_gives_each_text_the_same_chance_and_keeps_no_more_than_asked() -> None:
    """Each of 10 is among 3 in 3 of 10 draws; fewer than asked come whole and in order."""
    rng = random.Random(1)
    drawn = Counter(text for _ in range(5000) for text in sample("abcdefghij", 3, rng))
    assert drawn.total() == 15000
    assert all(abs(count - 1500) < 4 * 33 for count in drawn.values())
    assert sample("abc", 5, rng) == ["a", "b", "c"]
