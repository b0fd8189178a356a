"""Files of texts in, files with labels and probabilities out."""

import csv
import gzip
import io
import json
import sys
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import export.predict
from export.errors import ExportError
from export.predict import Predicted, predict_file
from model.columns import Columns, DataError
from model.inference import network_logits
from model.lock import HeldError
from service.runtime.postprocess import softmax
from tests.runs import LABELS, heed_here, invented

TEXTS = [text for text, _ in invented(25, seed=8)]
TEXT = Columns(label=None)
NAMES = ["predicted_label", "score", *(f"p_{label}" for label in LABELS), "tokens", "truncated"]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """Every file of this module has several batches."""
    monkeypatch.setattr(export.predict, "_BATCH_SIZE", 10)


def write_input(folder, kind: str, rows: list[dict]) -> str:
    """The rows as a file of that kind."""
    path = folder / f"in.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif kind.startswith("jsonl"):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        path.write_bytes(gzip.compress(text.encode()) if kind.endswith("gz") else text.encode())
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            plain = {"delimiter": "\t", "quoting": csv.QUOTE_NONE, "quotechar": None}
            writer = csv.DictWriter(file, list(rows[0]), **(plain if kind == "tsv" else {}))
            writer.writeheader()
            writer.writerows(rows)
    return str(path)


def read_output(path) -> list[dict]:
    """Rows of a file that was written, as that kind of file has them."""
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    if path.suffix == ".tsv":  # without quotes
        return list(csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE))
    return list(csv.DictReader(io.StringIO(text)))


def predict(predictor, source: str, out, columns: Columns = TEXT) -> list[int]:
    """Predict, and how many rows each batch had."""
    sums = [0]
    predict_file(predictor, source, str(out), columns, lambda done: sums.append(done.rows))
    return [after - before for before, after in pairwise(sums)]


@pytest.mark.parametrize("source", ["csv", "tsv", "jsonl", "jsonl.gz", "parquet"])
@pytest.mark.parametrize("target", ["csv", "tsv", "jsonl", "parquet"])
def test_every_input_to_every_output(predictor, tmp_path, source, target):
    """Rows in order, columns copied through, then label, score and all probabilities."""
    rows = [{"id": f"n{n}", "text": text, "note": 'a,"b'} for n, text in enumerate(TEXTS)]
    out = tmp_path / f"out.{target}"
    assert predict(predictor, write_input(tmp_path, source, rows), out) == [10, 10, 5]
    written = read_output(out)
    expected = predictor.predict(TEXTS)
    assert [list(row) for row in written] == [["id", "text", "note", *NAMES]] * 25
    for row, original, prediction in zip(written, rows, expected, strict=True):
        assert {name: row[name] for name in original} == original
        assert row["predicted_label"] == prediction.label
        assert float(row["score"]) == pytest.approx(prediction.score, abs=1e-5)
        for label, probability in prediction.scores:
            assert float(row[f"p_{label}"]) == pytest.approx(probability, abs=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([f"in.{source}", out.name])


def test_probabilities_are_those_of_pytorch(predictor, checkpoint, tmp_path):
    """Within 1e-5, through reading, batching, ONNX and writing."""
    rows = [{"text": text} for text in TEXTS]
    predict(predictor, write_input(tmp_path, "jsonl", rows), tmp_path / "out.jsonl")
    ids = [checkpoint.tokenizer.encode(text).input_ids for text in TEXTS]
    expected = softmax(network_logits(checkpoint.network, ids))
    written = [
        [row[f"p_{label}"] for label in LABELS] for row in read_output(tmp_path / "out.jsonl")
    ]
    assert np.abs(np.array(written) - expected).max() <= 1e-5


def test_probabilities_sum_to_1_and_the_best_is_the_score(predictor, tmp_path):
    """Label and score are those of the largest probability."""
    rows = [{"text": text} for text in TEXTS]
    predict(predictor, write_input(tmp_path, "jsonl", rows), tmp_path / "out.jsonl")
    for row in read_output(tmp_path / "out.jsonl"):
        probabilities = {label: row[f"p_{label}"] for label in LABELS}
        assert sum(probabilities.values()) == pytest.approx(1.0, abs=1e-5)
        assert max(probabilities, key=probabilities.get) == row["predicted_label"]
        assert row["score"] == max(probabilities.values())


def test_types_of_columns_survive(predictor, tmp_path):
    """Numbers stay numbers, lists lists and nothing nothing."""
    rows = [{"text": text, "n": n, "tags": ["a"], "x": None} for n, text in enumerate(TEXTS)]
    source = write_input(tmp_path, "jsonl", rows)
    for target in ("jsonl", "parquet"):
        predict(predictor, source, tmp_path / f"out.{target}")
        written = read_output(tmp_path / f"out.{target}")
        assert [{name: row[name] for name in rows[0]} for row in written] == rows


@pytest.mark.parametrize("target", ["csv", "jsonl", "parquet"])
def test_blank_rows_get_empty_predictions(predictor, tmp_path, target):
    """Their mates are classified, the count is returned, and nothing shifts."""
    texts = list(TEXTS)
    for place in (0, 3, 9, 24):
        texts[place] = "  "
    source = write_input(tmp_path, "jsonl", [{"text": text} for text in texts])
    out = tmp_path / f"out.{target}"
    assert predict_file(predictor, source, str(out), TEXT, lambda _: None).blank == 4
    for place, row in enumerate(read_output(out)):
        if place in (0, 3, 9, 24):
            assert all(row[name] in (None, "") for name in NAMES)
        else:
            assert row["predicted_label"] == predictor.predict([TEXTS[place]])[0].label


@pytest.mark.parametrize("target", ["csv", "jsonl", "parquet"])
def test_first_batch_may_be_blank(predictor, tmp_path, target):
    """The columns of the predictions have their types whatever comes first."""
    rows = [{"text": text} for text in [""] * 12 + TEXTS]
    out = tmp_path / f"out.{target}"
    predict(predictor, write_input(tmp_path, "jsonl", rows), out)
    written = read_output(out)
    assert len(written) == 37
    assert written[12]["predicted_label"] == predictor.predict(TEXTS[:1])[0].label


@pytest.mark.parametrize("target", ["csv", "jsonl", "parquet"])
def test_rows_that_were_cut_say_so(predictor, tmp_path, target):
    """With their tokens, as the service answers, and the count of such rows."""
    texts = [*TEXTS[:12], "again " * 100]
    source = write_input(tmp_path, "jsonl", [{"text": text} for text in texts])
    done = predict_file(predictor, source, str(tmp_path / f"r.{target}"), TEXT, lambda _: None)
    assert (done.rows, done.truncated) == (13, sum(p.truncated for p in predictor.predict(texts)))
    for row, prediction in zip(
        read_output(tmp_path / f"r.{target}"), predictor.predict(texts), strict=True
    ):
        assert int(row["tokens"]) == prediction.tokens
        assert str(row["truncated"]).lower() == str(prediction.truncated).lower()


def test_several_text_columns_are_joined(predictor, tmp_path):
    """As in training."""
    rows = [{"a": text[:9], "b": text[10:]} for text in TEXTS]
    columns = Columns(text=("a", "b"), label=None)
    predict(predictor, write_input(tmp_path, "csv", rows), tmp_path / "out.jsonl", columns)
    written = read_output(tmp_path / "out.jsonl")
    expected = predictor.predict([f"{row['a']} {row['b']}" for row in rows])
    assert [row["predicted_label"] for row in written] == [item.label for item in expected]


@pytest.mark.parametrize("name", ["predicted_label", "score", "p_refund", "tokens", "truncated"])
def test_name_clash_is_refused(predictor, tmp_path, name):
    """No column of the input is overwritten, unless an earlier prediction is there as a whole."""
    source = write_input(tmp_path, "csv", [{"text": "a", name: "b"}])
    with pytest.raises(ExportError, match=f"has a column '{name}' already"):
        predict(predictor, source, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("name", ["out.xlsx", "out", "out.csv.gz", "out.json"])
def test_unknown_suffix_is_refused(predictor, tmp_path, name):
    """Before anything is read; the message lists the known."""
    with pytest.raises(ExportError, match=r"expected \.csv, \.tsv, \.jsonl, \.parquet, or - for"):
        predict(predictor, str(tmp_path / "none.csv"), tmp_path / name)


@pytest.mark.parametrize("target", ["csv", "tsv", "jsonl", "parquet"])
def test_broken_row_leaves_no_file_by_that_name(predictor, tmp_path, target):
    """It names the row and the file that has the rows before it; an older file stays as it was."""
    rows = [{"text": text} for text in TEXTS]
    rows[21] = {"text": "a\0b"}
    source = write_input(tmp_path, "jsonl", rows)
    out = tmp_path / f"out.{target}"
    out.write_text("of yesterday")
    partial = out.with_name(f"out.{target}.partial")
    with pytest.raises(DataError, match=rf"row 22 .*; the 20 rows before it are in {partial}"):
        predict(predictor, source, out)
    assert out.read_text() == "of yesterday"
    assert {path.name for path in tmp_path.iterdir()} == {"in.jsonl", out.name, partial.name}
    assert len(read_output(partial.rename(tmp_path / f"kept.{target}"))) == 20


def test_interrupted_job_keeps_its_rows(predictor, tmp_path):
    """What was computed is there, and the words of the interrupt say where."""
    source = write_input(tmp_path, "jsonl", [{"text": f"text {n}"} for n in range(45)])
    out = tmp_path / "out.csv"

    def on_rows(done: Predicted) -> None:
        if done.rows == 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"stopped; the 40 rows before it are in .*al$"):
        predict_file(predictor, source, str(out), TEXT, on_rows)
    partial = tmp_path / "out.csv.partial"
    assert {path.name for path in tmp_path.iterdir()} == {"in.jsonl", partial.name}
    assert len(read_output(partial.rename(tmp_path / "kept.csv"))) == 40


def test_two_processes_do_not_write_one_file(predictor, tmp_path):
    """The second is told who writes it; the first loses nothing."""
    source = write_input(tmp_path, "jsonl", [{"text": "a text"}])
    out = tmp_path / "out.csv"
    refusals = []

    def on_rows(done: Predicted) -> None:
        with pytest.raises(HeldError) as caught:
            predict(predictor, source, out)
        refusals.append(str(caught.value))

    predict_file(predictor, source, str(out), TEXT, on_rows)
    assert refusals[0].startswith(f"{out} is being written by process ")
    assert {path.name for path in tmp_path.iterdir()} == {"in.jsonl", "out.csv"}
    assert len(read_output(out)) == 1


def test_nothing_is_left_where_nothing_was_done(predictor, tmp_path):
    """An error in the first batch."""
    source = write_input(tmp_path, "jsonl", [{"text": "a\0b"}])
    with pytest.raises(DataError, match=r"row 1 \(line 1\)[^;]*$"):
        predict(predictor, source, tmp_path / "out.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


@pytest.mark.parametrize("target", ["csv", "tsv", "jsonl", "parquet"])
def test_columns_may_change_and_types_too(predictor, tmp_path, target):
    """A column that comes late is empty before, and a job does not end for its type."""
    rows = [
        {"text": text, "n": 1} | ({"late": "x"} if n >= 20 else {}) for n, text in enumerate(TEXTS)
    ]
    rows[15]["n"] = 10**29
    source = write_input(tmp_path, "jsonl", rows)
    predict(predictor, source, tmp_path / f"out.{target}")
    written = read_output(tmp_path / f"out.{target}")
    assert [row.get("late") or None for row in written] == [None] * 20 + ["x"] * 5
    assert [str(row["n"]) for row in written] == ["1"] * 15 + [str(10**29)] + ["1"] * 9


@pytest.mark.parametrize("target", ["csv", "tsv", "jsonl", "parquet"])
def test_output_is_an_input(predictor, tmp_path, target):
    """The columns of the earlier prediction are replaced, and named; all others stay."""
    rows = [{"id": "7", "text": text, "p_value": "0.5"} for text in TEXTS]
    first, second = tmp_path / f"r.{target}", tmp_path / f"s.{target}"
    predict(predictor, write_input(tmp_path, "jsonl", rows), first)
    done = predict_file(predictor, str(first), str(second), TEXT, lambda _: None)
    assert done.replaced == tuple(NAMES)
    assert read_output(second) == read_output(first)


def test_output_may_be_the_input(predictor, tmp_path):
    """It is replaced when all of it was read."""
    rows = [{"text": text} for text in TEXTS]
    source = write_input(tmp_path, "jsonl", rows)
    predict(predictor, source, source)
    assert [row["text"] for row in read_output(tmp_path / "in.jsonl")] == TEXTS


def test_folder_of_the_output_is_made(predictor, tmp_path):
    """As `heed train` makes that of a run."""
    source = write_input(tmp_path, "jsonl", [{"text": "a"}])
    predict(predictor, source, tmp_path / "new" / "out.csv")
    assert len(read_output(tmp_path / "new" / "out.csv")) == 1


def test_folder_is_no_output(predictor, tmp_path):
    """Known before the work, not after it."""
    source = write_input(tmp_path, "jsonl", [{"text": "a"}])
    (tmp_path / "out.csv").mkdir()
    with pytest.raises(ExportError, match=r"out\.csv is a folder, expected a file"):
        predict(predictor, source, tmp_path / "out.csv")


def test_output_that_cannot_be_written_is_an_error(predictor, tmp_path):
    """One line, not a traceback of the file system."""
    (tmp_path / "file").write_text("x")
    source = write_input(tmp_path, "jsonl", [{"text": "a"}])
    with pytest.raises(ExportError, match="cannot be written"):
        predict(predictor, source, tmp_path / "file" / "out.csv")


def test_lines_of_stdin_go_to_stdout_as_they_come(predictor, monkeypatch, capsys):
    """A batch is written before the next line is read."""
    written = []

    def lines():
        for number, text in enumerate(TEXTS):
            if number % 10 == 0:
                written.append(len(capsys.readouterr().out.splitlines()))
            yield text.encode() + b"\n"

    class Stdin:
        buffer = lines()

    monkeypatch.setattr(sys, "stdin", Stdin)
    assert predict(predictor, "-", "-") == [10, 10, 5]
    assert written == [0, 10, 10]
    rest = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in rest] == TEXTS[20:]
    assert list(rest[0]) == ["text", *NAMES]


def test_rows_are_written_while_the_file_is_read(predictor, tmp_path, monkeypatch):
    """Never two batches in memory: each is classified and written before the next is read."""
    events = []
    read_batches = export.predict.read_batches

    def watched(*arguments):
        for batch in read_batches(*arguments):
            events.append("read")
            yield batch

    monkeypatch.setattr(export.predict, "read_batches", watched)
    source = write_input(tmp_path, "csv", [{"text": text} for text in TEXTS * 4])
    out = tmp_path / "out.jsonl"
    sizes = []

    def on_rows(_: object) -> None:
        events.append("written")
        sizes.append((tmp_path / "out.jsonl.partial").read_text().count("\n"))

    predict_file(predictor, source, str(out), TEXT, on_rows)
    assert events == ["read", "written"] * 10
    assert sizes == list(range(10, 101, 10))


def test_error_far_into_a_file_comes_after_the_rows_before_it(predictor, tmp_path):
    """A file is not read as a whole: 200 batches are done when row 2,001 turns out broken."""
    path = tmp_path / "in.csv"
    path.write_text("text\n" + "".join(f"a box {n}\n" for n in range(2_000)) + '"open\n')
    done: list[int] = []
    with pytest.raises(DataError, match="line 2002"):
        predict_file(
            predictor,
            str(path),
            str(tmp_path / "out.csv"),
            TEXT,
            lambda so_far: done.append(so_far.rows),
        )
    assert done[-1] == 2_000


def test_command_writes_a_file(fp32, tmp_path):
    """And says how many rows have no text; the artifact may be a folder of versions."""
    rows = [{"text": text} for text in [*TEXTS, "", " "]]
    source = write_input(tmp_path, "csv", rows)
    out = tmp_path / "out.csv"
    done = heed_here("predict", "--model", fp32, source, "--out", out)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "2 rows have no text: the prediction is empty" in done.stderr
    assert len(read_output(out)) == 27


def test_command_writes_nothing_but_rows_to_stdout(fp32, tmp_path):
    """It can stand in a pipe: progress goes to stderr."""
    source = write_input(tmp_path, "jsonl", [{"text": text} for text in TEXTS])
    done = heed_here("predict", "--model", fp32, source, "--out", "-")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["text"] for row in rows] == TEXTS
