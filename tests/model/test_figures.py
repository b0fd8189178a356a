"""How an accuracy is shown."""

from model.figures import accuracy_text, remarks

FIGURES = {
    "n": 352,
    "accuracy": 0.849,
    "accuracy_low": 0.809,
    "accuracy_high": 0.883,
    "majority": 0.123,
    "majority_label": "fees",
}


def test_accuracy_has_its_interval_and_the_constant_answer():
    """In one form for every command; a manifest has numbers only, an old one fewer."""
    assert accuracy_text(FIGURES) == "accuracy 84.9 % (95 % CI 80.9 to 88.3; always 'fees': 12.3 %)"
    numbers = {key: value for key, value in FIGURES.items() if key != "majority_label"}
    assert accuracy_text(numbers).endswith("; always the largest class: 12.3 %)")
    assert accuracy_text({"n": 9, "accuracy": 0.5}) == "accuracy 50.0 %"


def test_sound_figures_need_no_remark():
    """A line that is always there is not read."""
    assert remarks(FIGURES) == []


def test_two_rows_are_too_few_to_judge():
    """No accuracy of them stands alone."""
    (line,) = remarks(FIGURES | {"n": 2, "accuracy_low": 0.0, "accuracy_high": 0.66})
    assert line == "too few rows to judge: with n = 2 any accuracy from 0 to 66 % fits"


def test_classes_that_are_missed_are_named_with_their_rows():
    """Those never predicted and those never learned, five of each."""
    many = {f"class {n}": 1 for n in range(7)}
    lines = remarks(FIGURES | {"never_predicted": {"fraud": 12}, "unseen_labels": many})
    assert lines[0] == "never predicts: 'fraud' (12 rows)"
    assert lines[1].endswith("'class 4' (1 row) and 2 more")
