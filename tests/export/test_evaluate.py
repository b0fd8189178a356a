"""The same figures, whatever is evaluated: a run or its artifact."""

import json

import pytest

from export.evaluate import evaluate
from model.data import LabelledTexts
from model.figures import accuracy_text
from model.parts import read_part
from service.runtime.artifact import ArtifactError
from service.runtime.errors import HeedError
from tests.runs import heed_here, invented, write_rows

KEYS = {"accuracy", "macro_f1", "ece", "nll", "n", "per_class", "unseen_labels"}
KEYS |= {"accuracy_low", "accuracy_high", "majority", "majority_label", "never_predicted"}
KEYS |= {"truncated", "findings"}


@pytest.fixture(scope="module")
def rows() -> LabelledTexts:
    """Labelled rows that neither training nor validation saw."""
    texts, labels = zip(*invented(90, seed=9), strict=True)
    return LabelledTexts(list(texts), list(labels), "rows")


def test_run_and_artifact_have_the_same_figures(trained_run, fp32, rows):
    """Within 0.1 points for fp32."""
    run, artifact = evaluate(trained_run, rows), evaluate(fp32, rows)
    assert run.keys() == artifact.keys() == KEYS
    assert run["n"] == artifact["n"] == 90
    for key in ("accuracy", "macro_f1", "ece"):
        assert abs(run[key] - artifact[key]) <= 0.001
        assert 0 <= run[key] <= 1
    assert 0.5 < run["accuracy"] < 1
    assert run["per_class"].keys() == artifact["per_class"].keys()


def test_int8_has_nearly_the_same_figures(fp32, int8, rows):
    """A point at most on these rows, of which each counts 1.1 points."""
    exact, small = evaluate(fp32, rows), evaluate(int8, rows)
    assert abs(exact["accuracy"] - small["accuracy"]) <= 0.012


def test_evaluating_a_run_repeats_its_metrics(trained_run):
    """What training wrote into `metrics.json`, to the last digit."""
    metrics = json.loads((trained_run / "metrics.json").read_text())
    for part in ("validation", "test"):
        figures = evaluate(trained_run, read_part(trained_run, part))
        assert figures == figures | {
            key: metrics[part][key] for key in KEYS - {"unseen_labels", "findings"}
        }


def test_unseen_label_is_wrong_on_both(trained_run, fp32):
    """It is counted and reported the same way."""
    data = LabelledTexts(["never got the parcel", "what now"], ["delivery", "novel"], "rows")
    for source in (trained_run, fp32):
        figures = evaluate(source, data)
        assert figures["unseen_labels"] == {"novel": 1}
        assert figures["accuracy"] <= 0.5


def test_order_and_company_do_not_matter(fp32, rows):
    """The figures of a file are those of its rows in any order."""
    turned = LabelledTexts(rows.texts[::-1], rows.labels[::-1], "rows")
    assert evaluate(fp32, turned)["accuracy"] == evaluate(fp32, rows)["accuracy"]


def test_neither_run_nor_artifact_is_refused(tmp_path, rows):
    """One line."""
    with pytest.raises(ArtifactError):
        evaluate(tmp_path, rows)
    with pytest.raises(HeedError, match="does not exist"):
        evaluate(tmp_path / "none", rows)


@pytest.mark.parametrize("kind", ["trained_run", "fp32"])
def test_command_writes_json(request, tmp_path, kind):
    """Fractions under the keys that scripts rely on; percent for people."""
    source = request.getfixturevalue(kind)
    data = write_rows(tmp_path / "data.jsonl", [*invented(60, seed=9), ("what now", "novel")])
    target = tmp_path / "figures.json"
    done = heed_here("evaluate", source, data, "--json", target)
    assert done.returncode == 0, done.stderr
    figures = json.loads(target.read_text())
    assert figures.keys() == KEYS
    assert figures["n"] == 61
    assert figures["per_class"].keys() == {"account", "delivery", "novel", "refund"}
    assert figures["per_class"]["refund"].keys() == {"precision", "recall", "f1", "support"}
    assert f"{accuracy_text(figures)}, macro-F1 " in done.stdout
    assert "labels that training never saw count as wrong: 'novel' (1 row)\n" in done.stdout


def test_command_reads_other_columns(fp32, tmp_path):
    """As `heed train` does."""
    data = tmp_path / "data.csv"
    lines = [f"{label};{text}\n" for text, label in invented(12, seed=9)]
    data.write_text("topic;body\n" + "".join(lines))
    options = ["--text-column", "body", "--label-column", "topic", "--delimiter", ";"]
    done = heed_here("evaluate", fp32, data, *options)
    assert done.returncode == 0, done.stderr
    assert "n = 12" in done.stdout


def test_command_makes_the_folder_for_json(fp32, tmp_path):
    """As `heed predict` does for its output."""
    data = write_rows(tmp_path / "data.jsonl", invented(6, seed=9))
    done = heed_here("evaluate", fp32, data, "--json", tmp_path / "new" / "figures.json")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "new" / "figures.json").read_text())["n"] == 6
