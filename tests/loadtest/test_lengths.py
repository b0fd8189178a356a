"""Lengths are learned without the texts, and made again."""

import random
import tomllib
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

import pytest

from loadtest.lengths import POINTS, describe, learn, quantile, synthesise, to_toml
from loadtest.workload import load_workload


def _lognormal_lengths(count: int, outlier: int = 0) -> list[int]:
    rng = random.Random(1)
    lengths = [1 + int(rng.lognormvariate(4, 1)) for _ in range(count)]
    return lengths + [outlier] * bool(outlier)


def _texts(lengths: list[int]) -> Iterator[str]:
    return ("x" * length for length in lengths)


def test_learned_quantiles_are_those_of_the_data() -> None:
    """101 texts of 1 to 101 characters are their own quantiles."""
    lengths = list(range(1, POINTS + 1))
    random.Random(2).shuffle(lengths)
    assert learn(_texts(lengths)) == list(range(1, POINTS + 1))


def test_learned_quantiles_are_nearest_ranks_of_uneven_data() -> None:
    """Each but the last is the length of the text at that rank."""
    lengths = sorted(_lognormal_lengths(2001))
    learned = learn(_texts(lengths))
    assert learned[:-1] == [lengths[20 * k] for k in range(POINTS - 1)]
    assert learned[-2] <= learned[-1] <= lengths[-1]


@pytest.mark.parametrize("outlier", [0, 1_000_000])
def test_made_up_texts_have_the_mean_length_of_the_data(outlier: int) -> None:
    """One enormous text in fifty thousand does not make each hundredth enormous."""
    lengths = _lognormal_lengths(50_000, outlier)
    made = synthesise(learn(_texts(lengths)), random.Random(3), 4000)
    assert mean(map(len, made)) == pytest.approx(mean(lengths), rel=0.02)


@pytest.mark.parametrize("lengths", [[7], [3, 900], [5, 5, 5]])
def test_few_texts_are_enough_to_learn_from(lengths: list[int]) -> None:
    """Even one; its length is then the only one."""
    learned = learn(_texts(lengths))
    assert len(learned) == POINTS
    assert (learned[0], learned[-1]) == (min(lengths), max(lengths))


def test_no_texts_teach_nothing() -> None:
    """An empty data set is an error, not a workload of empty texts."""
    with pytest.raises(ValueError, match="no texts"):
        learn([])


def test_made_up_texts_have_the_lengths_asked_for_and_none_is_empty() -> None:
    """The k-th shortest is at most one character shorter than its quantile."""
    asked = [0, 20, 300, 5000]
    made = sorted(synthesise(asked, random.Random(4), 500), key=len)
    for k, text in enumerate(made):
        wanted = quantile(asked, (k + 0.5) / 500)
        assert text == text.strip()
        assert max(1, wanted - 1) <= len(text) <= wanted


def test_made_up_texts_are_words_in_an_order_that_the_seed_decides() -> None:
    """Equal seeds give equal texts, others do not."""
    first, again, other = (synthesise([50, 90], random.Random(seed), 20) for seed in (5, 5, 6))
    assert first == again != other
    assert len(set(first)) == 20
    assert [len(text) for text in first] != sorted(map(len, first))
    assert all(" " in text for text in first)


def test_quantiles_between_learned_ones_lie_on_a_straight_line() -> None:
    """0 is the first, 1 the last, and nothing is shorter than a character."""
    lengths = [0, 10, 30]
    assert [quantile(lengths, f) for f in (0, 0.25, 0.5, 0.75, 1)] == [1, 5, 10, 20, 30]


def test_description_names_the_quantiles_that_people_ask_for() -> None:
    """Shortest, median, tail."""
    rows = describe(list(range(1, POINTS + 1)))
    assert rows == [("shortest", 1), ("p50", 51), ("p95", 96), ("p99", 100), ("longest sent", 101)]


def test_written_workload_is_read_back_and_says_nothing_of_the_texts(tmp_path: Path) -> None:
    """Lengths, rate and duration survive; a line break in the source ends no comment."""
    texts = [f"secret{'x' * n}" for n in range(300)]
    content = to_toml(learn(texts), 12.5, source="a\nb.csv", duration="90s")
    (tmp_path / "my.toml").write_text(content, encoding="utf-8")
    workload = load_workload("my.toml", tmp_path)
    assert list(workload.texts.lengths or ()) == learn(texts)
    assert (workload.stages[0].rate, workload.stages[0].duration_s) == (12.5, 90)
    assert "secret" not in content
    assert content.startswith("# Text lengths like those of a?b.csv")
    assert max(map(len, content.splitlines())) <= 100


def test_large_and_small_rates_are_written_exactly() -> None:
    """No rounding, no exponent that TOML would not read."""
    for rate in (1234567.0, 0.05, 100.0, 1e-5, 123.456789):
        assert tomllib.loads(to_toml([1, 2], rate, "d"))["stages"][0]["rate"] == rate
