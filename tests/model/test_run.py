"""From labelled files to a run directory, in process."""

import json
from collections import Counter

import pytest
import torch

import model.run
from export.evaluate import evaluate
from model.checkpoint import CheckpointError, load_tensors
from model.columns import Columns, DataError
from model.data import read_labelled
from model.parts import Request, read_data, read_part
from service.runtime.files import FileError
from service.runtime.tokenizer import Tokenizer
from tests.runs import LABELS, invented, tiny_config, train_in, write_rows

FILES = {
    "checkpoint.safetensors",
    "curves.png",
    "data.json",
    "log.jsonl",
    "metrics.json",
    "run.json",
    "tokenizer.model",
    "validation.jsonl",
}


def request_of(tmp_path, **changed) -> Request:
    """What `heed train` is asked for, on files that are only read."""
    asked = {
        "train": write_rows(tmp_path / "train.jsonl", invented(150, seed=1)),
        "out": tmp_path / "run",
        "valid": None,
        "test": None,
        "columns": Columns(),
        "config": tiny_config(tmp_path),
    }
    return Request(**asked | changed)


def error_of(tmp_path, kind=CheckpointError, **request) -> str:
    """Why training is refused, in one line."""
    with pytest.raises(kind) as caught:
        train_in(tmp_path, request)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def tensors_of(run) -> dict[str, torch.Tensor]:
    """The weights that a run kept."""
    return load_tensors(run / "checkpoint.safetensors")[0]


def test_run_directory_holds_what_a_run_is(trained_run):
    """Weights, settings, figures, curves, log, tokenizer and the rows to measure on; no state."""
    assert {path.name for path in trained_run.iterdir()} == FILES | {"test.jsonl"}
    run = json.loads((trained_run / "run.json").read_text())
    assert run["labels"] == list(LABELS)
    assert run["config"]["network"]["hidden_size"] == 32
    assert run["data"]["rows"] == [270, 30, 120]
    assert (trained_run / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_metrics_are_those_of_the_best_epoch(trained_run):
    """Validation and test figures, and how training went."""
    metrics = json.loads((trained_run / "metrics.json").read_text())
    assert metrics.keys() == {"validation", "test", "training", "baseline"}
    for part, rows in (("validation", 30), ("test", 120)):
        figures = metrics[part]
        assert figures["n"] == rows
        assert {"accuracy", "macro_f1", "ece", "nll", "per_class"} <= figures.keys()
        assert figures["accuracy"] > 0.6
    training = metrics["training"]
    best = min(training["history"], key=lambda record: record["valid_nll"])
    assert training["best_epoch"] == best["epoch"]
    assert metrics["validation"]["accuracy"] == pytest.approx(best["valid_accuracy"])
    assert metrics["validation"]["nll"] == pytest.approx(best["valid_nll"], abs=1e-5)


def test_log_is_json_lines_with_time(trained_run):
    """What happened when: start, each epoch, the end."""
    lines = [json.loads(line) for line in (trained_run / "log.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines if line["event"] != "warning"] == [
        "start",
        *["epoch"] * 4,
        "done",
    ]
    assert all(line["timestamp"].endswith("Z") for line in lines)


def test_same_seed_same_metrics(tmp_path):
    """Figures, history and weights, bit by bit; times aside."""
    results = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        metrics, listener = train_in(folder, {"config": tiny_config(folder, epochs=2)})
        for record in metrics["training"]["history"]:
            record.pop("train_s")
        history = metrics["training"]["history"]
        results.append((metrics["validation"], history, listener.losses))
    assert results[0] == results[1]
    first, second = tensors_of(tmp_path / "a" / "run"), tensors_of(tmp_path / "b" / "run")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_held_out_part_is_stratified(tmp_path):
    """The share of each label is that of the file, and no row is in both parts."""
    rows = invented(150, seed=1) + [(f"rare {number}", "rare") for number in range(50)]
    train = write_rows(tmp_path / "skewed.jsonl", rows)
    config = tiny_config(tmp_path, validation_fraction=0.2)
    data = read_data(request_of(tmp_path, train=train, config=config))
    assert Counter(data.valid.labels) == dict.fromkeys([*LABELS, "rare"], 10)
    assert sorted(data.train.texts + data.valid.texts) == sorted(text for text, _ in rows)


def test_held_out_part_is_bounded(tmp_path):
    """Much data needs no tenth of it to validate."""
    data = read_data(request_of(tmp_path, config=tiny_config(tmp_path, max_validation_rows=6)))
    assert (len(data.valid), len(data.train)) == (6, 144)


def test_seed_decides_what_is_held_out(tmp_path):
    """The same seed, the same rows."""
    parts = [
        read_data(request_of(tmp_path, config=tiny_config(tmp_path, seed=seed))).valid.texts
        for seed in (0, 0, 1)
    ]
    assert parts[0] == parts[1] != parts[2]


def test_parts_are_kept_as_they_were(trained_run):
    """What export measures the artifact on."""
    test = read_part(trained_run, "test")
    assert list(zip(test.texts, test.labels, strict=True)) == invented(120, seed=2)


@pytest.mark.parametrize("content", [None, "{", '{"text": "a"}', "[]"])
def test_broken_part_is_an_error(tmp_path, content):
    """Also one that was deleted."""
    if content is not None:
        (tmp_path / "test.jsonl").write_text(content)
    with pytest.raises(CheckpointError, match=r"test\.jsonl cannot be read"):
        read_part(tmp_path, "test")


def test_validation_file_replaces_the_held_out_part(tmp_path):
    """All rows of the training file are learned from."""
    valid = write_rows(tmp_path / "valid.jsonl", invented(40, seed=3))
    data = read_data(request_of(tmp_path, valid=valid))
    assert (len(data.train), len(data.valid)) == (150, 40)


def test_test_rows_influence_nothing(tmp_path):
    """Runs whose test files differ have bit-equal weights, tokenizers and validation figures."""
    results = []
    for name, rows in (("a", invented(20, seed=4)), ("b", [("我的卡 " * 9, "refund")])):
        folder = tmp_path / name
        folder.mkdir()
        test = write_rows(folder / "test.jsonl", rows)
        metrics, _ = train_in(folder, {"test": test, "config": tiny_config(folder, epochs=2)})
        tokenizer = (folder / "run" / "tokenizer.model").read_bytes()
        results.append((tokenizer, metrics["validation"], tensors_of(folder / "run")))
        assert metrics["test"]["n"] == len(rows)
    (*first, weights), (*second, others) = results
    assert first == second
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def test_test_rows_are_encoded_after_training(tmp_path, monkeypatch):
    """The first test row becomes ids after the last batch was learned."""
    events = []
    rows = [(f"apart {text}", label) for text, label in invented(20, seed=4)]
    train, encode = model.run.train, Tokenizer.encode

    def watched_encode(tokenizer, text):
        if text.startswith("apart"):
            events.append("test row")
        return encode(tokenizer, text)

    def watched_train(*arguments):
        train(*arguments)
        events.append("trained")

    monkeypatch.setattr(Tokenizer, "encode", watched_encode)
    monkeypatch.setattr(model.run, "train", watched_train)
    test = write_rows(tmp_path / "test.jsonl", rows)
    train_in(tmp_path, {"test": test, "config": tiny_config(tmp_path, epochs=1)})
    assert events == ["trained", *["test row"] * 20]


def test_unseen_label_of_test_is_wrong_and_reported(tmp_path):
    """It cannot be predicted, so it lowers the accuracy; training is not bothered."""
    rows = [*invented(9, seed=5), ("something new", "novel"), ("and more", "novel")]
    test = write_rows(tmp_path / "test.jsonl", rows)
    metrics, _ = train_in(tmp_path, {"test": test, "config": tiny_config(tmp_path, epochs=1)})
    assert metrics["test"]["unseen_labels"] == {"novel": 2}
    assert metrics["test"]["n"] == 11
    assert metrics["test"]["accuracy"] <= 9 / 11
    assert metrics["test"]["per_class"]["novel"]["recall"] == 0


def test_unseen_label_of_validation_is_an_error(tmp_path):
    """It names file, row and label, and leaves no folder."""
    valid = write_rows(tmp_path / "valid.jsonl", [("a text", "refund"), ("another", "novel")])
    message = error_of(tmp_path, DataError, valid=valid)
    assert message.startswith(f"{valid}, row 2: label 'novel' is not in the training rows")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        ("a\x1b[2J", "holds a control character"),
        ("a\nb", "holds a control character"),
        ("\u200b", "shows nothing"),
    ],
)
def test_label_that_no_artifact_may_have_stops_the_training(tmp_path, label, reason):
    """Before it begins: nobody could export what it learns."""
    rows = [*invented(20, seed=1), ("one text", label), ("another", label)]
    train = write_rows(tmp_path / "train.jsonl", rows)
    assert error_of(tmp_path, DataError, train=train) == f"{train}: label {label!r} {reason}"
    assert not (tmp_path / "run").exists()


def test_error_in_the_test_file_shows_before_training(tmp_path):
    """Not after an hour of it."""
    test = tmp_path / "test.jsonl"
    test.write_text('{"text": "", "label": "refund"}\n')
    assert "the text is empty" in error_of(tmp_path, DataError, test=str(test))


@pytest.mark.parametrize("rows", [[("a", "x"), ("b", "y")], [("a", "x")], [("a", "x"), ("b", "x")]])
def test_too_few_rows_are_an_error(tmp_path, rows):
    """Nothing can be held out of single rows, and nothing learned from one class."""
    train = write_rows(tmp_path / "few.jsonl", rows)
    assert error_of(tmp_path, DataError, train=train).startswith(f"{train}: ")


def test_smallest_data_trains(tmp_path):
    """Two rows of one label and one of another."""
    train = write_rows(tmp_path / "few.jsonl", [("a", "x"), ("b", "x"), ("c", "y")])
    metrics, listener = train_in(tmp_path, {"train": train})
    assert metrics["validation"]["n"] == 1
    assert any("fewer than 2 training rows" in line for line in listener.lines)


def test_warnings_are_told_and_logged(tmp_path):
    """Rows that stand in two parts are counted, and training goes on."""
    rows = invented(150, seed=1)
    test = write_rows(tmp_path / "test.jsonl", rows[:5])
    valid = write_rows(tmp_path / "valid.jsonl", rows[:3])
    request = {"test": test, "valid": valid, "config": tiny_config(tmp_path, epochs=1)}
    _, listener = train_in(tmp_path, request)
    told = [line for line in listener.lines if line.startswith("warning: ")]
    assert told[0].startswith(
        "warning: 3 of 3 validation rows (row 1 for example) repeat a text of the training rows"
    )
    assert told[1].startswith(
        "warning: 5 of 5 test rows (row 1 for example) repeat a text of the training rows"
    )
    assert (tmp_path / "run" / "log.jsonl").read_text().count('"warning"') == len(told)


def test_what_the_data_is_stands_in_the_run(tmp_path):
    """Sources, rows and labels of each part, and the findings that were told."""
    rows = invented(150, seed=1)
    test = write_rows(tmp_path / "test.jsonl", [*rows[:5], ("a new text", "REFUND")])
    _, listener = train_in(tmp_path, {"test": test, "config": tiny_config(tmp_path, epochs=1)})
    data = json.loads((tmp_path / "run" / "data.json").read_text())
    assert {name: part["rows"] for name, part in data["parts"].items()} == {
        "training": 135,
        "validation": 15,
        "test": 6,
    }
    assert data["parts"]["test"]["labels"]["REFUND"] == 1
    told = [line for line in listener.lines if line.startswith(("warning: ", "note: "))]
    assert [f"{f['level']}: {f['message']}" for f in data["findings"]] == told
    assert {"spelling", "leakage"} <= {finding["kind"] for finding in data["findings"]}


def test_merged_labels_are_one_in_every_part(tmp_path):
    """The most frequent spelling of the training rows stands for all, also when evaluated."""
    rows = invented(150, seed=1)
    train = write_rows(
        tmp_path / "train.jsonl",
        [
            (text, "Refund" if label == "refund" and n < 30 else label)
            for n, (text, label) in enumerate(rows)
        ],
    )
    others = [(text, label.upper()) for text, label in invented(30, seed=2)]
    test = write_rows(tmp_path / "test.jsonl", others)
    config = tiny_config(tmp_path, epochs=1)
    request = {"train": train, "valid": test, "test": test, "config": config, "merge_labels": True}
    metrics, _ = train_in(tmp_path, request)
    assert tuple(json.loads((tmp_path / "run" / "run.json").read_text())["labels"]) == LABELS
    assert metrics["test"]["unseen_labels"] == {}
    assert evaluate(tmp_path / "run", read_labelled(test, Columns()))["accuracy"] == 0
    merged = evaluate(tmp_path / "run", read_labelled(test, Columns()), merge_labels=True)
    assert merged["accuracy"] == metrics["test"]["accuracy"]


def test_existing_run_is_refused(tmp_path):
    """Without --resume or --overwrite nothing of it is touched."""
    train_in(tmp_path, {"config": tiny_config(tmp_path, epochs=1)})
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    assert "holds a run already" in error_of(tmp_path)
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_overwrite_replaces_a_run(tmp_path):
    """Nothing of the old one is left."""
    train_in(tmp_path, {"config": tiny_config(tmp_path, epochs=1)})
    (tmp_path / "run" / "test.jsonl").write_text("old")
    metrics, _ = train_in(tmp_path, {"config": tiny_config(tmp_path, epochs=2), "overwrite": True})
    assert metrics["training"]["epochs"] == 2
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES


def test_overwrite_with_bad_data_keeps_the_old_run(tmp_path):
    """A typing error in the name of a file does not delete a model."""
    train_in(tmp_path, {"config": tiny_config(tmp_path, epochs=1)})
    error_of(tmp_path, DataError, train=str(tmp_path / "typo.csv"), overwrite=True)
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES


def test_resume_and_overwrite_exclude_each_other(tmp_path):
    """Either go on or start again."""
    train_in(tmp_path, {"config": tiny_config(tmp_path, epochs=1)})
    (tmp_path / "run" / "resume.safetensors").write_bytes(b"a state")
    message = error_of(tmp_path, resume=True, overwrite=True)
    assert "--resume" in message
    assert "--overwrite" in message
    assert {path.name for path in (tmp_path / "run").iterdir()} >= FILES


def test_out_that_is_a_file_is_refused(tmp_path):
    """One line, not a traceback of the file system."""
    (tmp_path / "run").write_text("a letter")
    assert str(tmp_path / "run") in error_of(tmp_path, FileError)
    assert (tmp_path / "run").read_text() == "a letter"


def test_resume_of_nothing_is_refused(tmp_path):
    """And leaves no folder behind."""
    message = error_of(tmp_path, resume=True)
    assert message == f"{tmp_path / 'run'} holds no run: nothing to resume; leave --resume out"
    assert not (tmp_path / "run").exists()


def test_resume_of_a_finished_run_is_refused(tmp_path):
    """There is nothing left to do."""
    train_in(tmp_path, {"config": tiny_config(tmp_path, epochs=1)})
    message = error_of(tmp_path, config=tiny_config(tmp_path, epochs=1), resume=True)
    assert message == f"{tmp_path / 'run'} is finished: nothing to resume"
