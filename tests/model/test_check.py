"""What the look at the data finds, and what it leaves alone."""

import random

import pytest

from model.check import check, cut, described
from model.check_labels import check_evaluated, refuse
from model.columns import DataError
from model.data import LabelledTexts
from tests.runs import invented

SOUND = invented(300, seed=1)


def texts_of(*rows: tuple[str, str]) -> LabelledTexts:
    """Rows of a file."""
    return LabelledTexts([text for text, _ in rows], [label for _, label in rows], "a.csv")


def unlike(count: int, label: str = "a", seed: int = 0) -> list[tuple[str, str]]:
    """Rows of which no two say the same."""
    return [(f"text {seed} {number}", label) for number in range(count)]


def kinds(train, **others) -> dict[tuple[str, str], tuple[int, tuple[int, ...]]]:
    """Count and example rows of each finding, by its kind and part."""
    labels = sorted(set(train.labels))
    found = check(train, others, labels)
    return {(finding.kind, finding.part): (finding.count, finding.rows) for finding in found}


def test_sound_data_has_no_findings():
    """Nothing is said where there is nothing to do."""
    rows = list(dict(SOUND).items())
    assert not kinds(texts_of(*rows[:150]), validation=texts_of(*rows[150:250]))


@pytest.mark.parametrize("change", [str.upper, "  {}  ".format, "{}!".format, "“{}”\n".format])
def test_texts_that_say_the_same_are_found(change):
    """Within the training rows a note, between parts a warning, each with its first row."""
    rows = unlike(100)
    again = [(change(text), label) for text, label in rows[:3]]
    found = kinds(texts_of(*rows, *again), test=texts_of(*unlike(97, seed=1), *again))
    assert found == {
        ("duplicates", "training"): (3, (101, 102, 103)),
        ("leakage", "test"): (3, (98, 99, 100)),
        ("imbalance", "training"): (103, (1,)),
    }


def test_rows_of_validation_and_test_are_compared_too():
    """A model is chosen on validation rows."""
    rows = unlike(100, seed=1)
    found = kinds(
        texts_of(*unlike(50), *unlike(50, "b", 3)),
        validation=texts_of(*rows),
        test=texts_of(*unlike(99, seed=2), rows[7]),
    )
    assert found == {("leakage", "test"): (1, (100,))}


def test_one_text_with_two_labels_is_a_contradiction():
    """Both rows are named."""
    found = kinds(texts_of(*unlike(50), *unlike(50, "b", 1), ("Text 0 0.", "b")))
    assert found["contradictions", "training"] == (1, (1, 101))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("<p>text {}</p>", "html"),
        ("text&nbsp;{}", "html"),
        ("text {}<br/>next", "html"),
        ("> text {}", "quoted mail"),
        ("text {}\n-----Original Message-----\nFrom: a", "quoted mail"),
        ("text {}\nOn Mon, 2 Dec 2024, Ann wrote:\nno", "quoted mail"),
    ],
)
def test_markup_is_found_in_more_than_a_tenth_of_the_rows(text, kind):
    """A tenth is as it may be, one row more is a warning."""
    rows = [*unlike(50), *unlike(50, "b", 1)]
    marked = [(text.format(number), "a") for number in range(11)]
    assert not kinds(texts_of(*marked[:10], *rows[10:]))
    assert kinds(texts_of(*marked, *rows[11:])) == {(kind, "training"): (11, (1, 2, 3))}


@pytest.mark.parametrize("text", ["<3 {}", "a < b {}", "<user> {}", "AT&T {}", "x > y {}", "{} <>"])
def test_what_only_looks_like_markup_is_none(text):
    """Hearts, comparisons, placeholders, names of firms."""
    rows = [(text.format(number), "ab"[number % 2]) for number in range(100)]
    assert not kinds(texts_of(*rows))


def test_few_rows_to_judge_by_are_said():
    """93 are enough for an interval of 20 points."""
    train = texts_of(*unlike(50), *unlike(50, "b", 1))
    assert not kinds(train, test=texts_of(*unlike(93, seed=2)))
    assert kinds(train, test=texts_of(*unlike(92, seed=2))) == {("few rows", "test"): (92, ())}


def test_cut_texts_are_counted_with_the_length_that_would_do():
    """More than a twentieth is a warning, less a note."""
    data = texts_of(*unlike(100))
    assert cut("training", data, [8] * 100, 8) == []
    (few,) = cut("training", data, [9] * 5 + [8] * 95, 8)
    assert (few.level, few.count, few.rows) == ("note", 5, (1, 2, 3))
    (many,) = cut("training", data, [150] * 6 + [8] * 94, 8)
    assert (many.level, many.count) == ("warning", 6)
    assert "max_length = 192" in many.message


def test_labels_that_differ_by_spelling_are_named_with_their_rows():
    """The most frequent first, and what makes them one."""
    train = texts_of(*unlike(60, "refund status"), *unlike(40, "Refund-Status", 1))
    (finding,) = check(train, {}, ["Refund-Status", "refund status"])
    assert (finding.kind, finding.count, finding.rows) == ("spelling", 1, (61,))
    assert "'refund status' (60) and 'Refund-Status' (40)" in finding.message
    assert "--merge-labels" in finding.message


@pytest.mark.parametrize("label", ["NaN", "None", "null", "N/A", "n/a", "nan", "-", "?"])
def test_labels_of_missing_values_are_named(label):
    """They are classes, and hardly meant to be."""
    train = texts_of(*unlike(50), *unlike(40, "b", 1), *unlike(10, label, 2))
    assert kinds(train)["missing", "training"] == (10, (91, 92, 93))


def test_share_of_a_class_that_hides_the_rest_is_a_warning():
    """With what a constant answer would get."""
    train = texts_of(*unlike(90), *unlike(10, "b", 1))
    (finding,) = check(train, {}, ["a", "b"])
    assert (finding.kind, finding.count) == ("imbalance", 90)
    assert "90.0 % of the training rows are 'a'" in finding.message


def test_classes_of_one_row_are_named():
    """They can be learned by heart at best."""
    train = texts_of(*unlike(50), *unlike(50, "b", 1), ("other", "c"))
    assert kinds(train) == {("small classes", "training"): (1, (101,))}


def rows_with(labels) -> LabelledTexts:
    """A row for each label."""
    return texts_of(*((f"text {number}", label) for number, label in enumerate(labels)))


@pytest.mark.parametrize(
    "labels",
    [
        [f"T-{number}" for number in range(500)],
        [f"{number / 7:.2f}" for number in range(500)],
        [f"{number}" for number in range(21)],
    ],
)
def test_a_label_for_each_row_is_refused(labels):
    """An id or an amount: nothing could be learned."""
    with pytest.raises(DataError, match="looks like an id or a number"):
        refuse(rows_with(labels))


@pytest.mark.parametrize(
    "labels",
    [
        [f"{number % 200}.5" for number in range(2_000)],  # amounts
        [str(1950 + number % 70) for number in range(2_000)],  # years
        [str(18 + number % 60) for number in range(2_000)],  # ages
        [f"T-{number % 300}" for number in range(500)],
        [f"2024-{1 + number % 12:02}-{1 + number % 28:02}" for number in range(2_000)],
        [f"{1 + number % 28}.{1 + number % 12}.24" for number in range(2_000)],
    ],
)
def test_labels_that_look_like_ids_or_amounts_are_a_warning(labels):
    """They recur, so something may be learned."""
    assert ("id or number", "training") in kinds(rows_with(labels))


@pytest.mark.parametrize(
    "labels",
    [
        [str(number % 77) for number in range(2_000)],  # class ids from 0
        [str(1 + number % 10) for number in range(500)],  # ratings
        [str(100 * (1 + number % 30)) for number in range(2_000)],  # codes
        [f"topic {number % 150}" for number in range(2_000)],
    ],
)
def test_class_ids_ratings_and_codes_are_labels(labels):
    """No warning of numbers that name classes."""
    data = rows_with(labels)
    refuse(data)
    assert ("id or number", "training") not in kinds(data)


@pytest.mark.parametrize("separator", ["|", ";", ",", ", ", " | "])
def test_several_labels_a_row_are_refused(separator):
    """Whether the parts occur alone or only together."""
    names = ("billing", "urgent", "delivery", "refund", "login", "other")
    generator = random.Random(0)
    pairs = [separator.join(sorted(generator.sample(names, 2))) for _ in range(200)]
    for labels in (pairs, [*names, *pairs]):
        with pytest.raises(DataError, match="several labels a row"):
            refuse(rows_with(labels))


@pytest.mark.parametrize("separator", ["|", ";", ", "])
def test_names_with_a_part_in_common_are_said(separator):
    """They may be names, or several labels a row: nobody can tell."""
    names = [
        separator.join(parts) for parts in (("sport", "foot"), ("sport", "ski"), ("news", "eu"))
    ]
    data = rows_with(names * 10)
    refuse(data)
    assert kinds(data)["joined", "training"] == (2, (1, 2))


@pytest.mark.parametrize("name", ["billing/urgent", "billing + urgent", "billing & urgent"])
def test_other_separators_are_told_of_if_their_parts_are_labels(name):
    """It may be a name that has one, so it is no error."""
    data = rows_with([name, "billing", "urgent", "delivery"] * 5)
    refuse(data)
    assert kinds(data)["joined", "training"][0] == 1


@pytest.mark.parametrize("label", ["['a', 'b']", '["a"]', "[1, 0, 1]", "[]"])
def test_printed_lists_are_refused(label):
    """What pandas writes to CSV for a column of lists."""
    with pytest.raises(DataError, match="several labels a row"):
        refuse(rows_with(["x", "y", label]))


@pytest.mark.parametrize(
    "labels",
    [
        ["food, drink", "sport", "news", "film"],
        ["Sci/Tech", "World", "Sports", "Business"],
        ["yes; of course", "no", "maybe"],
        ["1,5", "2,0", "2,5", "3,0"],
        ["a|b", "c", "d"],
    ],
)
def test_a_separator_in_a_name_is_no_list(labels):
    """Its parts are no labels, and do not recur."""
    data = rows_with(labels * 5)
    refuse(data)
    assert ("joined", "training") not in kinds(data)


def test_labels_to_evaluate_are_held_against_those_of_the_model():
    """Those spelt otherwise apart from those that were never learned."""
    data = texts_of(("x", "Refund Status"), ("y", "refund_status"), ("z", "fraud"), ("w", "NaN"))
    found = {f.kind: (f.count, f.rows) for f in check_evaluated(data, ["refund_status", "other"])}
    assert found == {"spelling": (1, (1,)), "unseen": (2, (3, 4)), "missing": (1, (4,))}


def test_what_is_written_has_rows_labels_and_findings():
    """Of each part, with its source."""
    train = texts_of(*unlike(2, "b"), *unlike(1, "a", 1))
    findings = check(train, {}, ["a", "b"])
    written = described(train, {}, findings)
    part = {"source": "a.csv", "rows": 3, "labels": {"b": 2, "a": 1}}
    assert written["parts"] == {"training": part}
    assert [finding["kind"] for finding in written["findings"]] == ["small classes"]
