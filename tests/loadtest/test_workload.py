"""Workload files: what they may say, and what decides their fingerprint."""

from pathlib import Path

import pytest

from loadtest.texts import TextsError, read_texts
from loadtest.workload import (
    MAX_TEXTS,
    Workload,
    WorkloadError,
    load_workload,
    shipped_workloads,
)

STAGE = '[[stages]]\nname = "s"\nrate = 10\nduration = "2s"\n'


@pytest.fixture
def load(tmp_path: Path):
    """A workload from the text of its file."""

    def load(content: str, name: str = "w.toml") -> Workload:
        (tmp_path / name).write_text(content, encoding="utf-8")
        return load_workload(name, tmp_path)

    return load


def test_a_stage_is_all_that_a_workload_needs(load) -> None:
    """The rest are defaults: Poisson arrivals of single built-in texts."""
    workload = load(STAGE)
    assert (workload.arrivals, workload.timeout_s, workload.warm_up_s) == ("poisson", 10, 5)
    assert (workload.mix.single, workload.texts_per_request, workload.duration_s) == (1, 1, 2)
    assert sorted(workload.text_pool) == sorted(read_texts())
    stage = workload.stages[0]
    assert (stage.name, stage.rate, stage.end_rate, stage.duration_s) == ("s", 10, 10, 2)


@pytest.mark.parametrize("name", ["batches", "mixed", "ramp", "spike", "steady"])
def test_shipped_workload_is_found_by_its_name_from_anywhere(name: str, tmp_path: Path) -> None:
    """Its name wins over files beside it, and its texts are there."""
    (tmp_path / name).touch()
    workload = load_workload(name, tmp_path)
    assert name in shipped_workloads()
    assert len(workload.text_pool) > 50
    assert 20 <= workload.duration_s <= 60


def test_shipped_workloads_are_what_their_names_say() -> None:
    """A ramp rises, a spike comes and goes, mixed is 90/8/2, batches are batches."""
    assert load_workload("steady").with_rate(200, 5).stages[0].rate == 200
    assert load_workload("ramp").stages[0].end_rate == 10 * load_workload("ramp").stages[0].rate
    rates = [(stage.name, stage.rate) for stage in load_workload("spike").stages]
    assert rates == [("steady", 50), ("spike", 250), ("recovery", 50)]
    mix = load_workload("mixed").mix
    assert (mix.single, mix.batch, mix.explain) == (0.90, 0.08, 0.02)
    assert load_workload("mixed").texts_per_request == pytest.approx(0.92 + 0.08 * 16)
    assert load_workload("batches").texts_per_request == 32


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "stages: expected, but missing"),
        ("stages = []", "stages: expected at least 1, got 0"),
        ("x = 1\n" + STAGE, "x: unknown key"),
        ('arrivals = "uniform"\n' + STAGE, "expected 'poisson' or 'constant', got 'uniform'"),
        ('timeout = "soon"\n' + STAGE, "timeout: 'soon' is not a duration such as 50ms, 10s"),
        ("timeout = 0\n" + STAGE, "timeout: expected greater than 0, got 0"),
        ("warm_up = inf\n" + STAGE, "warm_up: expected a finite number"),
        ("seed = 1.5\n" + STAGE, "seed: expected a valid integer, got 1.5"),
        ("seed = 2020-01-01\n" + STAGE, "seed: expected a valid integer, got '2020-01-01'"),
        (STAGE.replace("10", '"10"'), "stages.0.rate: expected a valid number, got '10'"),
        (STAGE.replace("10", "-1"), "stages.0.rate: expected greater than or equal to 0, got -1"),
        (STAGE.replace("10", "0"), "stages.0: expected a `rate` or `end_rate` above 0"),
        (STAGE.replace("rate = 10\n", ""), "stages.0.rate: expected, but missing"),
        (STAGE.replace("2s", "0s"), "stages.0.duration: expected greater than 0, got '0s'"),
        (STAGE + STAGE, "stages: expected a different `name` for each stage"),
        (STAGE.replace('"s"', '""'), "stages.0.name: expected at least 1 character"),
        ("mix = 1\n" + STAGE, "mix: expected a table"),
        ("[mix]\nsingle = 0.5\n" + STAGE, "mix: expected single + batch + explain = 1, got 0.5"),
        ("[mix]\nbatch = 1\nbatch_size = 0\n" + STAGE, "mix.batch_size: expected greater than"),
        ("[texts]\n" + STAGE, "texts: expected exactly one of `built_in = true`, `file`"),
        ("[texts]\nbuilt_in = false\n" + STAGE, "texts.built_in: expected True, got False"),
        ("[texts]\nbuilt_in = true\nlengths = [1, 2]\n" + STAGE, "texts: expected exactly one"),
        ("[texts]\nlengths = [2, 1]\n" + STAGE, "texts: expected `lengths` in ascending order"),
        ("[texts]\nlengths = [2]\n" + STAGE, "texts.lengths: expected at least 2, got 1"),
        ("[texts]\nlengths = [1, 2.5]\n" + STAGE, "texts.lengths.1: expected a valid integer"),
        ('[texts]\nbuilt_in = true\ntext_column = "t"\n' + STAGE, "only beside `file`"),
        ('[texts]\nfile = "no.csv"\n' + STAGE, "texts.file: expected a file, there is none at"),
        ('[texts]\nfile = "."\n' + STAGE, "texts.file: expected a file, there is none at"),
        ("stages = ", "not TOML: Invalid value (at end of document)"),
    ],
)
def test_bad_file_is_refused_in_one_line_with_place_and_expectation(
    load, content: str, message: str
) -> None:
    """File, place, what was expected, what came."""
    with pytest.raises(WorkloadError) as caught:
        load(content)
    assert "w.toml: " in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_name_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    """A typing error ends in a list to choose from; bytes and folders are refused by name."""
    with pytest.raises(WorkloadError, match=r"no such file, .* ships: batches, mixed, ramp"):
        load_workload("stedy", tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9")
    with pytest.raises(WorkloadError, match=r"latin\.toml: not UTF-8 at byte 5"):
        load_workload("latin.toml", tmp_path)
    with pytest.raises(WorkloadError, match="directory"):
        load_workload(tmp_path)


def test_texts_file_counts_from_the_workloads_own_folder(tmp_path: Path) -> None:
    """Wherever the command runs; an unusable file is a TextsError that names it."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "t.csv").write_text("body\nhello\n", encoding="utf-8")
    for column in ("body", "text"):
        content = f'[texts]\nfile = "t.csv"\ntext_column = "{column}"\n' + STAGE
        (tmp_path / "in" / f"{column}.toml").write_text(content, encoding="utf-8")
    workload = load_workload("in/body.toml", tmp_path)
    assert workload.text_pool == ("hello",)
    assert str(workload.texts) == "t.csv"
    with pytest.raises(TextsError, match=r"t\.csv: no column 'text'"):
        _ = load_workload("in/text.toml", tmp_path).text_pool


def test_long_file_is_sampled_and_lengths_become_texts(load, tmp_path: Path) -> None:
    """At most `MAX_TEXTS` are kept, all from the file; very long made-up ones are fewer."""
    lines = [f"text {n}" for n in range(2 * MAX_TEXTS)]
    (tmp_path / "t.txt").write_text("\n".join(lines), encoding="utf-8")
    pool = load('[texts]\nfile = "t.txt"\n' + STAGE).text_pool
    assert len(set(pool)) == len(pool) == MAX_TEXTS
    assert set(pool) <= set(lines)
    assert any(text in pool for text in lines[-100:])
    made = load("[texts]\nlengths = [10, 30]\n" + STAGE)
    assert {len(text) for text in made.text_pool} <= set(range(9, 31))
    assert str(made.texts) == "made up, 20 characters at the median"
    assert len(load("[texts]\nlengths = [90000, 90000]\n" + STAGE).text_pool) < MAX_TEXTS


def test_rate_and_duration_of_one_stage_can_be_replaced(load) -> None:
    """A ramp becomes flat; the rest stays; several stages or impossible rates are refused."""
    ramp = load("seed = 3\n" + STAGE + "end_rate = 20\n")
    changed = ramp.with_rate(50, 8)
    stage = changed.stages[0]
    assert (stage.name, stage.rate, stage.end_rate, stage.duration_s) == ("s", 50, 50, 8)
    assert changed.seed == 3
    assert ramp.stages[0].end_rate == 20
    with pytest.raises(WorkloadError, match="one stage to change its rate, got steady, spike"):
        load_workload("spike").with_rate(50, 8)
    for rate, duration_s in ((0, 8), (-1, 8), (float("nan"), 8), (50, 0)):
        with pytest.raises(WorkloadError, match="expected"):
            ramp.with_rate(rate, duration_s)


@pytest.mark.parametrize("name", ["steady", "mixed", "spike"])
def test_workload_survives_json(name: str) -> None:
    """So it can be handed to another process."""
    workload = load_workload(name)
    assert Workload.model_validate_json(workload.model_dump_json()) == workload


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("seed = 1", "seed = 2", False),
        ("rate = 10", "rate = 11", False),
        ("rate = 10", "rate = 10\nend_rate = 11", False),
        ("rate = 10", "rate = 10.0\nend_rate = 10", True),
        ('"2s"', '"3s"', False),
        ('"2s"', '"2000ms"', True),
        ('name = "s"', 'name = "t"', True),
        ("seed = 1", 'seed = 1\narrivals = "constant"', False),
        ("seed = 1", "seed = 1\ntimeout = 9", False),
        ("seed = 1", "seed = 1\nwarm_up = 9", False),
        ("seed = 1", "seed = 1\nmix = {single = 0.5, explain = 0.5}", False),
        ("seed = 1", 'seed = 1\ntexts = {file = "a.txt"}', False),
        ("seed = 1", 'seed = 1\nheaders = {all = {X-Request-Priority = "batch"}}', False),
        ("seed = 1", "seed = 1 # and a comment", True),
    ],
)
def test_fingerprint_changes_with_what_is_sent_and_with_nothing_else(
    load, tmp_path: Path, old: str, new: str, same: bool
) -> None:
    """Two ways to write the same load are the same load."""
    (tmp_path / "a.txt").write_text("hello", encoding="utf-8")
    first, second = load("seed = 1\n" + STAGE), load(("seed = 1\n" + STAGE).replace(old, new))
    assert (first.fingerprint() == second.fingerprint()) is same


def test_fingerprint_knows_texts_by_content_and_not_by_path(load, tmp_path: Path) -> None:
    """A copy counts as the same, a changed text does not."""
    prints = []
    for name, text in (("a.txt", "hello"), ("b.txt", "hello"), ("c.txt", "hullo")):
        (tmp_path / name).write_text(text, encoding="utf-8")
        prints.append(load(f'[texts]\nfile = "{name}"\n' + STAGE).fingerprint())
    assert prints[0] == prints[1] != prints[2]


def test_headers_of_a_kind_win_over_those_of_all(load) -> None:
    """A workload says how patient its clients are, and which of them come first."""
    workload = load(
        STAGE
        + '[headers.all]\nX-Request-Timeout-Ms = "250"\nX-Request-Priority = "interactive"\n'
        + '[headers.batch]\nX-Request-Priority = "batch"\n'
    )
    assert workload.headers_of("single")["X-Request-Priority"] == "interactive"
    assert workload.headers_of("batch") == {
        "X-Request-Timeout-Ms": "250",
        "X-Request-Priority": "batch",
    }
    assert Workload.model_validate_json(workload.model_dump_json()) == workload


@pytest.mark.parametrize(
    "headers",
    ['all = {"X Y" = "1"}', 'all = {X = "a\\r\\nY: b"}', "all = {X = 1}", 'other = {X = "1"}'],
)
def test_a_header_that_cannot_be_sent_is_an_error(load, headers: str) -> None:
    """Not a request that the service would not understand, thousands of times."""
    with pytest.raises(WorkloadError, match="headers"):
        load(STAGE + f"[headers]\n{headers}\n")
