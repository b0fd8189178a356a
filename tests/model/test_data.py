"""Labelled texts: checks of single rows and of labels."""

import json

import pytest

from model.data import (
    Columns,
    DataError,
    LabelledTexts,
    label_names,
    read_batches,
    read_labelled,
    unseen_labels,
)


def labelled(*labels: str, source: str = "a.csv") -> LabelledTexts:
    """A row for each label, each with a text of its own."""
    return LabelledTexts([f"text {i}" for i in range(len(labels))], list(labels), source)


def write_json(path, *rows: dict) -> str:
    """A file with a JSON object a line."""
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(path)


def test_several_text_columns_are_joined_by_a_space(tmp_path):
    """In the order asked for; parts that are blank, null or missing are left out."""
    source = write_json(
        tmp_path / "a.jsonl",
        {"body": "b", "title": "a", "n": 1},
        {"title": "c", "body": None, "n": 2},
        {"body": " d ", "title": " ", "n": 3},
        {"body": "e", "n": 4},
    )
    data = read_labelled(source, Columns(text=("title", "body"), label="n"))
    assert data.texts == ["a b", "c", " d ", "e"]


def test_batch_carries_every_column(tmp_path):
    """Predictions are written beside what was read; a JSON row may lack a column."""
    source = write_json(tmp_path / "a.jsonl", {"text": "a", "id": 1}, {"text": "b", "tag": "x"})
    (batch,) = read_batches(source, Columns(label=None))
    assert batch.labels is None
    assert batch.columns == {"text": ["a", "b"], "id": [1, None], "tag": [None, "x"]}


@pytest.mark.parametrize("text", ["", "  ", "\t \u00a0"])
def test_blank_text_names_file_row_and_line(tmp_path, text):
    """Nothing can be learned from it, and nothing said about it."""
    path = tmp_path / "a.csv"
    path.write_text(f'text,label\n"a\nb",x\n{text},y\n', encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_labelled(str(path), Columns())
    assert str(caught.value) == f"{path}, row 2 (line 4): the text is empty"


def test_blank_label_names_file_row_and_line(tmp_path):
    """A row without a label cannot be learned from."""
    path = tmp_path / "a.csv"
    path.write_text("text,label\na,x\nb, \n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_labelled(str(path), Columns())
    assert str(caught.value) == f"{path}, row 2 (line 3): the label is empty"


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"text": 5, "label": "x"}, "column 'text' holds int 5; expected a string"),
        ({"text": None, "label": "x"}, "column 'text' holds nothing (null); expected a string"),
        ({"label": "x"}, "column 'text' holds nothing (null); expected a string"),
        ({"text": ["a"], "label": "x"}, "column 'text' holds list ['a']; expected a string"),
        ({"text": "a", "label": [1]}, "column 'label' holds a list: several labels a row"),
        ({"text": "a", "label": None}, "column 'label' holds nothing (null); expected a string or"),
        ({"text": "a", "label": {}}, "column 'label' holds dict {}; expected a string or"),
        ({"text": "a", "label": ""}, "the label is empty"),
        ({"text": "a\0b", "label": "x"}, "the text holds a NUL or half a surrogate pair"),
        ({"text": "a\ud800", "label": "x"}, "the text holds a NUL or half a surrogate pair"),
        ({"text": "a", "label": "\udfff"}, "the label holds a NUL or half a surrogate pair"),
    ],
)
def test_unusable_value_names_file_row_and_line(tmp_path, row, problem):
    """The message says what was found and what was expected."""
    source = write_json(tmp_path / "a.jsonl", {"text": "fine", "label": "x"}, row)
    with pytest.raises(DataError) as caught:
        read_labelled(source, Columns())
    assert str(caught.value).startswith(f"{source}, row 2 (line 2): {problem}")


def test_text_of_several_columns_is_a_string_in_each(tmp_path):
    """A number among the parts is an error, not a part of the text."""
    source = write_json(tmp_path / "a.jsonl", {"title": "a", "body": 5})
    with pytest.raises(DataError, match=r"row 1 .*column 'body' holds int 5"):
        list(read_batches(source, Columns(text=("title", "body"), label=None)))


def test_row_number_counts_across_batches(tmp_path):
    """An error in a later batch names the row of the file."""
    rows = [{"text": "a"}] * 7 + [{"text": 5}]
    batches = read_batches(write_json(tmp_path / "a.jsonl", *rows), Columns(label=None), 3)
    assert len([next(batches), next(batches)]) == 2
    with pytest.raises(DataError, match="row 8 "):
        next(batches)


@pytest.mark.parametrize("row", [{"text": ""}, {"text": " \t"}, {"text": None}, {"id": 1}])
def test_blank_text_without_label_column_is_the_empty_string(tmp_path, row):
    """One row without text does not end a long job: it is read as "" and its mates as they are."""
    source = write_json(tmp_path / "a.jsonl", {"text": "a"}, row, {"text": "b"})
    (batch,) = read_batches(source, Columns(label=None))
    assert batch.texts == ["a", "", "b"]


def test_blank_text_with_label_column_is_an_error(tmp_path):
    """To learn from or to measure on, every row needs a text."""
    rows = [{"text": "a", "label": "x"}, {"text": " ", "label": "y"}]
    with pytest.raises(DataError, match=r"row 2 \(line 2\): the text is empty"):
        list(read_batches(write_json(tmp_path / "a.jsonl", *rows), Columns()))


def test_training_needs_labels(tmp_path):
    """Reading labelled texts without a label column is a mistake of the caller."""
    with pytest.raises(DataError, match="a label column is needed"):
        read_labelled("a.csv", Columns(label=None))


def test_label_names_are_sorted():
    """Their order is the order of the logits, whatever the order of the rows."""
    assert label_names(labelled("b", "a", "10", "9", "b")) == ["10", "9", "a", "b"]


def test_one_class_only_names_file_and_class():
    """There is nothing to tell apart."""
    with pytest.raises(DataError, match=r"^a\.csv: every row has the label 'x'; expected two"):
        label_names(labelled("x", "x"))


def test_unseen_labels_of_test_are_counted():
    """They count as wrong and are reported, most frequent first."""
    assert unseen_labels(labelled("a", "q", "z", "z", "b"), ["a", "b"]) == {"z": 2, "q": 1}
