"""Sources of rows: files, folders, hub names and stdin, in batches that know their rows."""

import bz2
import gzip
import io
import lzma
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import datasets
import pytest

from model.data import Columns, DataError, read_batches, read_labelled
from model.rows import read_rows, require_source

TEXTS = Columns(label=None)


def write_parquet(path: Path, columns: dict, **types) -> str:
    """A Parquet file whose columns named in `types` have that feature."""
    data = datasets.Dataset.from_dict(columns)
    for name, feature in types.items():
        data = data.cast_column(name, feature)
    data.to_parquet(str(path))
    return str(path)


@pytest.fixture
def folder(tmp_path):
    """A data set as it lies on the hub: a file for each split, class ids with names."""
    names = datasets.ClassLabel(names=["bad", "good"])
    path = tmp_path / "reviews"
    path.mkdir()
    write_parquet(path / "train-0.parquet", {"text": ["a", "b"], "label": [1, 0]}, label=names)
    write_parquet(path / "test-0.parquet", {"text": ["c", "d"], "label": [1, -1]}, label=names)
    return str(path)


def error_of(source: str, columns: Columns | None = None) -> str:
    """What is wrong with a source, in one line."""
    with pytest.raises(DataError) as caught:
        list(read_batches(source, columns or Columns()))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_rows_are_numbered_across_batches(tmp_path):
    """Row numbers start at 1, count rows with data, and come with the line in the file."""
    path = tmp_path / "a.csv"
    path.write_text('text,n\n"a\na",1\nb,2\n\nc,3\n', encoding="utf-8")
    batches = list(read_rows(str(path), TEXTS, 2, lambda _: None))
    assert [list(batch.numbers) for batch in batches] == [[1, 2], [3]]
    assert [batch.columns["n"] for batch in batches] == [["1", "2"], ["3"]]
    assert batches[0].where(1) == "row 2 (line 4)"
    assert batches[1].where(0) == "row 3 (line 6)"


def test_parquet_keeps_its_types(tmp_path):
    """Integers become labels; the columns to copy are as they were."""
    columns = {"text": ["a", "b"], "label": [3, 4], "score": [0.5, None]}
    (batch,) = read_batches(write_parquet(tmp_path / "a.parquet", columns), Columns())
    assert (batch.texts, batch.labels, batch.columns) == (["a", "b"], ["3", "4"], columns)


def test_parquet_is_read_in_batches(tmp_path):
    """The last batch is what is left."""
    source = write_parquet(tmp_path / "a[1].parquet", {"text": [str(i) for i in range(25)]})
    batches = list(read_batches(source, TEXTS, 10))
    assert [(b.rows[0], len(b.texts)) for b in batches] == [(1, 10), (11, 10), (21, 5)]


def test_folder_reads_the_training_split_with_names_of_classes(folder):
    """What goes for a folder goes for a hub name: both are given to load_dataset."""
    data = read_labelled(folder, Columns())
    assert (data.texts, data.labels) == (["a", "b"], ["good", "bad"])


def test_row_without_class_is_an_error(folder):
    """Hub data sets mark a hidden label with the id -1."""
    message = error_of(f"{folder}:test")
    assert message.startswith(
        f"{folder}:test, row 2 (test-0.parquet): column 'label' holds nothing (null)"
    )


def test_unknown_split_is_an_error(folder):
    """The message lists the splits."""
    message = error_of(f"{folder}:dev")
    assert message == f"{folder}:dev: no part 'dev'; the names of its files say 'test', 'train'"


def test_folder_without_data_is_an_error(tmp_path):
    """It is neither an empty data set nor a hub name."""
    assert error_of(str(tmp_path)).startswith(f"{tmp_path}: holds no file that can be read")


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more"])
def test_corrupt_parquet_is_an_error(tmp_path, content):
    """The message names the file."""
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    assert error_of(str(path)).startswith(f"{path}: cannot be read (")


def test_missing_column_of_parquet_lists_those_found(tmp_path):
    """Files of columns are checked like files of lines."""
    source = write_parquet(tmp_path / "a.parquet", {"text": ["a"], "topic": ["x"]})
    listing = "columns found: 'text', 'topic'; name it with --label-column"
    assert error_of(source) == f"{source}: no column 'label'; {listing}"


@pytest.mark.parametrize(
    "source",
    ["a.csv", "a.jsonl.gz", "a.parquet", "./a", "/no/such", "~/a", "a/b/c", "a b", "", "a.csv:x"],
)
def test_missing_file_is_not_looked_for_on_the_hub(source):
    """Whatever looks like a path, or cannot be a hub name, is a file that is not there."""
    assert error_of(source) == f"{source}: file not found"


def test_path_that_cannot_be_looked_up_is_an_error():
    """What the file system refuses is a line, not a traceback."""
    source = "x" * 5000
    assert error_of(source) == f"{source}: cannot be read (File name too long)"


@pytest.mark.parametrize("source", ["reviews", "somebody/reviews", "somebody/reviews:test"])
def test_hub_failure_says_both_possibilities(source, monkeypatch):
    """A name may be a mistyped file or a data set that cannot be reached."""
    asked = []

    def unreachable(**options):
        asked.append((options["path"], options["split"], options["streaming"]))
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    problem = "no such file, and not readable from the hub"
    reason = "it cannot be reached, or has no such data set"
    assert error_of(source) == f"{source}: {problem} ({reason})"
    assert asked == [(source.partition(":")[0], source.partition(":")[2] or "train", True)]


def test_unknown_format_lists_the_known(tmp_path):
    """The suffix decides."""
    path = tmp_path / "a.xlsx"
    path.write_bytes(b"")
    assert error_of(str(path)) == f"{path}: .xlsx cannot be read; save it as CSV UTF-8"
    path = tmp_path / "a.odd"
    path.write_bytes(b"")
    assert error_of(str(path)).startswith(f"{path}: unknown format; expected .csv, .tsv, .jsonl")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", ""),
        ("a.csv", "text,label\n"),
        ("a.tsv", "\n\n"),
        ("a.jsonl", "\n"),
        ("a.json", ""),
    ],
)
def test_file_without_rows_is_an_error(tmp_path, name, content):
    """Nothing, only a header, or only blank lines."""
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    assert error_of(str(path)) == f"{path}: holds no rows; expected at least one row with data"


def test_parquet_without_rows_is_an_error(tmp_path):
    """As for lines."""
    typed = {"text": datasets.Value("string"), "label": datasets.Value("string")}
    source = write_parquet(tmp_path / "a.parquet", {"text": [], "label": []}, **typed)
    assert error_of(source).startswith(f"{source}: holds no rows")


def test_lines_have_no_labels(tmp_path):
    """Training on a text file or on stdin is refused with what would do."""
    path = tmp_path / "a.txt"
    path.write_text("a\n", encoding="utf-8")
    problem = "lines have no labels; expected CSV, TSV, JSONL or Parquet"
    assert error_of(str(path)) == f"{path}: {problem}, or lines that begin with __label__x"
    assert error_of("-") == f"stdin: {problem}; --format says that it is one of these"


def test_text_file_is_a_text_a_line(tmp_path):
    """Whatever a line holds, it is one text."""
    path = tmp_path / "a.txt"
    path.write_bytes(b'one, "two\r\n{three}\n')
    (batch,) = read_batches(str(path), TEXTS)
    assert (batch.texts, batch.labels) == (['one, "two', "{three}"], None)


def test_stdin_is_read_as_it_comes(monkeypatch):
    """A batch is given out before the next line is read, and errors name the line."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\nb\nc\n\nd\0\n")))
    batches = read_batches("-", TEXTS, 2)
    assert next(batches).texts == ["a", "b"]
    assert sys.stdin.buffer.read(2) == b"c\n"
    with pytest.raises(DataError, match=r"^stdin, row 4 \(line 4\): the text holds a NUL"):
        next(batches)


def test_blank_line_of_stdin_is_a_blank_text(monkeypatch):
    """Every line gets its row, so that predictions stand beside the lines that were sent."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\n\n \nb\n")))
    (batch,) = read_batches("-", TEXTS)
    assert batch.texts == ["a", "", "", "b"]


def test_reading_is_silent_and_leaves_nothing_behind(tmp_path, folder):
    """No torch, no progress bar, no log line, and no copy or lock file in the home folder."""
    home = tmp_path / "home"
    bad = tmp_path / "bad.parquet"
    bad.write_bytes(b"nothing")
    lines = tmp_path / "a.csv"
    lines.write_text("text,label\na,x\n", encoding="utf-8")
    code = (
        "import sys\nfrom model.data import Columns, DataError, read_labelled\n"
        "assert 'datasets' not in sys.modules\n"
        "for source in sys.argv[1:]:\n"
        "    try:\n        read_labelled(source, Columns())\n"
        "    except DataError:\n        pass\n"
        "assert 'torch' not in sys.modules"
    )
    command = [sys.executable, "-c", code, folder, str(lines), str(bad), "somebody/reviews"]
    environment = {
        "HOME": str(home),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not home.exists()


ROWS = [(f"text {n}", "xyz"[n % 3]) for n in range(12)]


def csv_of(rows: list[tuple[str, str]]) -> bytes:
    """The rows under a header."""
    return "\n".join(["text,label", *(f"{text},{label}" for text, label in rows)]).encode()


def pairs(source: str, columns: Columns | None = None) -> list[tuple[str, str]]:
    """Texts and labels, as they are read."""
    data = read_labelled(source, columns or Columns())
    return list(zip(data.texts, data.labels, strict=True))


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_packed_file_is_read_as_its_content(tmp_path, suffix):
    """The suffix before says the format."""
    pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[suffix]
    path = tmp_path / f"a.csv{suffix}"
    path.write_bytes(pack(csv_of(ROWS)))
    assert pairs(str(path)) == ROWS
    path.write_bytes(pack(csv_of(ROWS))[:-9])
    assert "cannot be read" in error_of(str(path))


def make_folder(path: Path, files: dict[str, bytes]) -> str:
    """A folder of files."""
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return str(path)


def make_archive(folder: str, kind: str) -> str:
    """The folder as an archive beside it."""
    return shutil.make_archive(folder, kind, folder)


@pytest.mark.parametrize("kind", ["", "zip", "tar", "gztar"])
def test_folder_and_archive_are_all_their_files(tmp_path, kind):
    """In the order of the numbers in their names, as strings, by the options of files."""
    codes = [(f"text {n}", f"00{n % 3}") for n in range(12)]
    files = {f"p{n}.csv": csv_of(codes[n : n + 1]) for n in range(12)} | {"README.md": b"hello"}
    source = make_folder(tmp_path / "in", files)
    source = make_archive(source, kind) if kind else source
    assert pairs(source) == codes
    assert read_labelled(source, Columns()).notes == (f"{source}: passed over: 'README.md'",)


def test_folder_whose_files_disagree_is_refused(tmp_path):
    """The file that differs is named, with what was expected."""
    source = make_folder(tmp_path, {"a.csv": csv_of(ROWS), "b.csv": b"label,text,id\nx,a,1\n"})
    message = error_of(source)
    assert message.startswith(f"{source}/b.csv: has the columns 'id', 'label', 'text'; expected")


@pytest.mark.parametrize("kind", ["", "zip"])
def test_part_of_a_folder_is_chosen_by_the_names_of_its_files(tmp_path, kind):
    """Parts are never mixed: without a name it is the training part, and that is said."""
    files = {"train.csv": csv_of(ROWS[:8]), "test.csv": csv_of(ROWS[8:])}
    source = make_folder(tmp_path / "in", files)
    source = make_archive(source, kind) if kind else source
    data = read_labelled(source, Columns())
    assert len(data) == 8
    others = f"there are also 'test' (as {source}:test)"
    assert data.notes == (f"{source}: only the part train is read; {others}",)
    assert pairs(f"{source}:test") == ROWS[8:]


def test_folder_a_class_is_a_text_a_file(tmp_path):
    """The folder is the label; its files come in the order of their numbers."""
    files = {f"{label}/{n}.txt": f"{text}\n".encode() for n, (text, label) in enumerate(ROWS)}
    source = make_folder(tmp_path, files)
    assert sorted(pairs(source)) == sorted(ROWS)
    assert [text for text, label in pairs(source) if label == "x"] == [
        text for text, label in ROWS if label == "x"
    ]


@pytest.mark.parametrize("kind", ["", "tar"])
def test_parts_of_a_folder_a_class_are_never_mixed(tmp_path, kind):
    """The part stands above the folder of the label, which may have the name of a part."""
    made = {"train/test/1.txt": b"a", "train/x/2.txt": b"b", "test/x/1.txt": b"c"}
    source = make_folder(tmp_path / "in", made | {"README.txt": b"hello"})
    source = make_archive(source, kind) if kind else source
    data = read_labelled(source, Columns())
    assert list(zip(data.texts, data.labels, strict=True)) == [("a", "test"), ("b", "x")]
    assert data.notes == (
        f"{source}: passed over: 'README.txt'",
        f"{source}: only the part train is read; there are also 'test' (as {source}:test)",
    )
    assert pairs(f"{source}:test") == [("c", "x")]


def test_texts_at_several_depths_are_refused(tmp_path):
    """One of the folders would name a label, and be none."""
    files = {"pos/1.txt": b"a", "neg/2.txt": b"b", "neg/old/3.txt": b"c"}
    source = make_folder(tmp_path, files)
    assert error_of(source).startswith(f"{source}: 'pos/1.txt', 'neg/old/3.txt' lie at several")


def test_archive_with_a_password_is_an_error(tmp_path):
    """The bit of the header is enough to be asked for one."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", csv_of(ROWS))
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    expected = "cannot be read (it needs a password: unpack it first)"
    assert error_of(str(path)) == f"{path}/a.csv: {expected}"


@pytest.mark.parametrize("name", ["a.csv.zst", "in.tar.zst", "a.7z", "a.RAR"])
def test_what_cannot_be_unpacked_is_said(tmp_path, name):
    """It is no unknown format of rows."""
    (tmp_path / name).write_bytes(b"x")
    assert "cannot be unpacked here; unpack it first" in error_of(str(tmp_path / name))


@pytest.mark.parametrize("source", ["https://example.com/a.csv", "file:///a.csv", "s3://a/b"])
def test_address_is_no_name_on_the_hub(source):
    """Nothing is asked for over the network that was not meant."""
    assert error_of(source).startswith(f"{source}: is an address; expected a file")


def test_format_of_a_pipe_and_of_a_file_without_suffix_is_named(tmp_path, monkeypatch):
    """Everything else is as for a file of that suffix."""
    path = tmp_path / "data"
    path.write_bytes(csv_of(ROWS))
    assert pairs(str(path), Columns(format="csv")) == ROWS
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(csv_of(ROWS))))
    assert pairs("-", Columns(format="csv")) == ROWS


def test_mistyped_name_of_a_file_gets_the_one_that_was_meant(tmp_path):
    """Before anything is imported that takes long."""
    (tmp_path / "train.csv").write_bytes(b"")
    for name in ("trian.csv", "TRIAN.csv"):
        source = str(tmp_path / name)
        assert error_of(source) == f"{source}: file not found; did you mean {tmp_path}/train.csv?"


def test_hub_is_told_of_before_it_is_asked():
    """Which may take long; a file is not told of."""
    told = []
    require_source("somebody/reviews:test", told.append)
    assert told == [
        "somebody/reviews:test: there is no such file; asking the hub for a data set of that name"
    ]
    require_source(__file__, told.append)
    assert len(told) == 1


def test_files_that_name_no_part_are_those_to_train_on(tmp_path):
    """Beside others whose names say test or validation; without such files a part is asked for."""
    for name in ("mails.csv", "test.csv", "valid.csv"):
        (tmp_path / name).write_text(f"text,label\n{name},x\n", encoding="utf-8")
    data = read_labelled(str(tmp_path), Columns())
    assert data.texts == ["mails.csv"]
    assert f"there are also 'test', 'validation' (as {tmp_path}:test)" in data.notes[0]
    (tmp_path / "mails.csv").unlink()
    ways = f"{tmp_path}:test or {tmp_path}:validation"
    expected = f"{tmp_path}: holds several parts and none to train on; say {ways}"
    assert error_of(str(tmp_path)) == expected


def test_bad_row_of_a_folder_has_its_file(tmp_path):
    """And the row counts over all files."""
    (tmp_path / "1.csv").write_text("text,label\na,x\nb,y\n", encoding="utf-8")
    (tmp_path / "2.csv").write_text("text,label\na,x\n,y\n", encoding="utf-8")
    assert error_of(str(tmp_path)) == f"{tmp_path}, row 4 (2.csv, line 3): the text is empty"


@pytest.mark.parametrize("skip_bad", [True, False])
def test_bad_rows_are_all_told_at_once(tmp_path, skip_bad):
    """By what is wrong; the first ten of a kind with row and line, and how many more."""
    rows = [*ROWS, *[("", "x")] * 13, ("a", ""), *[("b", "y,z")] * 2]
    path = tmp_path / "a.csv"
    path.write_bytes(csv_of(rows))
    if skip_bad:
        data = read_labelled(str(path), Columns(skip_bad=True))
        assert list(zip(data.texts, data.labels, strict=True)) == ROWS
        told = data.notes[0]
    else:
        told = error_of(str(path))
    assert "row 21 (line 22), row 22 (line 23) and 3 more: the text is empty; row 26" in told
    assert "; row 26 (line 27): the label is empty; row 27" in told
    assert "; row 27 (line 28), row 28 (line 29): malformed row of 3 cells; expected 2" in told
    assert ("--skip-bad" in told) is not skip_bad
