"""Which texts a file holds, and how a bad file is refused."""

import gzip
from pathlib import Path

import pytest

from loadtest.texts import TextsError, read_texts


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
        ("other.csv", b"label,title\na,b\n", "no `text` column, only label, title"),
        ("empty.csv", b"", "no `text` column, only none"),
        ("other.jsonl", b'{"text": "a"}\n{"title": "b"}\n', "line 2 has no `text` string"),
        ("broken.jsonl", b"{", "Expecting property name"),
        ("texts.parquet", b"PAR1", "unknown format, expected .txt, .csv"),
        ("latin.txt", b"caf\xe9", "not UTF-8 at byte 3"),
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
    with pytest.raises(TextsError, match=r"none\.txt: no such file"):
        read_texts(tmp_path / "none.txt")
    with pytest.raises(TextsError, match="directory"):
        read_texts(tmp_path)
