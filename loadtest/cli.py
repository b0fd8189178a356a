"""The commands that load a service: options in, a table and a folder of files out."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from loadtest.bench import Bench, new_result
from loadtest.capacity import SearchSettings, run_capacity
from loadtest.durations import DurationError, parse_duration
from loadtest.gate import GateError, rehearse, run_gate
from loadtest.junit import to_junit
from loadtest.lengths import describe, learn, to_toml
from loadtest.markdown import to_markdown
from loadtest.plan import closed_plan, open_plan
from loadtest.progress import shown
from loadtest.report import to_html
from loadtest.result import OK, Result, ResultError
from loadtest.runner import RunError
from loadtest.slo import SloError, load_slo
from loadtest.target import Target, TargetError
from loadtest.terminal import show
from loadtest.texts import TEXTS_ONLY, TextsError, iter_texts
from loadtest.workload import Texts, Workload, WorkloadError, load_workload
from model.columns import Columns
from model.options import reads
from service.runtime.files import FileError, replacing
from service.runtime.safe import safe
from service.runtime.terminal import Terminal

BAD_USE = 2
NOT_MEASURED = 3  # of `gate` and `capacity`, where 2 is a regression
INTERRUPTED = 130  # what a shell reports for a program ended by Ctrl-C


class SaveError(Exception):
    """The result has no place."""


_ERRORS = (
    *(DurationError, FileError, GateError, ResultError, RunError, SaveError),
    *(SloError, TargetError, TextsError, WorkloadError),
)

Url = Annotated[str, typer.Argument(help="Address of the service, http://host:port.")]
Users = Annotated[
    int | None, typer.Option(min=1, help="How many send, each waiting for its answer. [8]")
]
Rate = Annotated[
    float | None, typer.Option(min=0.1, help="Requests/s, sent when due: an open loop.")
]
Duration = Annotated[str, typer.Option(metavar="TIME", help="10s, 2m, 1h or plain seconds.")]
WarmUp = Annotated[str, typer.Option(metavar="TIME", help="Load before it, not measured.")]
WorkloadName = Annotated[
    str | None, typer.Option("--workload", help="Shipped name or .toml file, sent as it says.")
]
TextsFile = Annotated[
    Path | None,
    typer.Option(help="Texts to send, in any format that heed predict reads."),
]
Out = Annotated[Path, typer.Option(help="Folder for result.json and report.html.")]
ApiKey = Annotated[str | None, typer.Option(envvar="HEED_API_KEY", help="Sent as bearer token.")]
Processes = Annotated[int, typer.Option(min=1, help="That share the sending in an open loop.")]
SloFile = Annotated[Path, typer.Option("--slo", help="Objectives, see docs/gate.md.")]


@reads(labels=False)
def loadtest(
    url: Url,
    columns: Columns,
    users: Users = None,
    rate: Rate = None,
    duration: Duration = "30s",
    warm_up: WarmUp = "2s",
    workload: WorkloadName = None,
    arrivals: Annotated[
        Literal["poisson", "constant"] | None, typer.Option(help="Of the open loop. [workload's]")
    ] = None,
    texts: TextsFile = None,
    out: Out = Path("loadtest-result"),
    api_key: ApiKey = None,
    processes: Processes = 1,
) -> None:
    """Measure latency and throughput of a running service under load.

    With --rate or --workload requests are sent when they are due, and latency counts from then.
    Otherwise each user sends a request, waits for the answer and sends the next.

    Exits 0 when every request was answered, 1 when any failed,
    2 when the test could not be made, 130 after Ctrl-C.

    Example: heed loadtest http://127.0.0.1:8000 --rate 200 --duration 1m
    """
    with _errors(BAD_USE):
        _prepare(out)
        seconds, warm_up_s = parse_duration(duration, least_s=1), parse_duration(warm_up)
        load = _with_texts(load_workload(workload or "steady"), texts, columns)
        assert load.text_pool  # noqa: S101 - read now: a bad file is better known before the run
        closed = users is not None or (rate is None and workload is None)
        bench = Bench([Target(url, api_key)], api_key, 1 if closed else processes)
        if closed:
            plan = closed_plan(bench.urls[0], load, users or 8, seconds, warm_up_s)
        else:
            load = load.with_rate(rate, seconds) if rate else load
            changed = {"warm_up_s": warm_up_s, "arrivals": arrivals or load.arrivals}
            load = load.model_copy(update=changed)
            plan = open_plan(bench.urls, load)
        bench.require_ready()
        before = bench.facts()
        with shown(bench):
            run = bench.run(plan, "measuring", may_end_early=True)
        result = new_result("loadtest", bench, before, [run])
    _save(out, result)
    _finish_loadtest(result)


def gate(
    url: Url,
    slo: SloFile = Path("slo.yaml"),
    baseline: Annotated[
        str | None, typer.Option(help="Address of the last build, or a result to compare with.")
    ] = None,
    expect_model: Annotated[
        str | None, typer.Option(metavar="SHA256", help="Manifest hash that must be served.")
    ] = None,
    out: Out = Path("gate-result"),
    api_key: ApiKey = None,
    processes: Processes = 1,
) -> None:
    """Decide whether a running build may be released.

    Measures what the objectives in the SLO file need, checks that the measurement itself can be
    trusted, and judges. With --baseline also: is it worse than the last one? An address is loaded
    in turn with the candidate, after a run of it against itself that shows the noise.

    Exits 0 pass, 1 an objective failed, 2 regression, 3 invalid or inconclusive: not measured,
    130 after Ctrl-C.

    Example: heed gate http://127.0.0.1:8000 --slo slo.yaml --baseline http://127.0.0.1:8001
    """
    with _errors(NOT_MEASURED):
        _prepare(out)
        objectives = load_slo(slo)
        stored, targets = None, [Target(url, api_key)]
        if baseline and "://" in baseline:
            targets.append(Target(baseline, api_key))
        elif baseline:
            stored = (baseline, Result.read(_result_file(Path(baseline))))
        bench = Bench(targets, api_key, processes)
        scenarios = rehearse(objectives, loads_baseline=len(targets) > 1)
        for scenario in scenarios:
            typer.echo(str(scenario))
        with shown(bench):
            result = run_gate(
                bench, objectives, scenarios, baseline=stored, expected_model=expect_model
            )
    _conclude(out, result)


def capacity(
    url: Url,
    slo: SloFile = Path("slo.yaml"),
    scenario: Annotated[
        str | None, typer.Option(help="Of the SLO file; its first when left out.")
    ] = None,
    peak: Annotated[
        float | None, typer.Option(min=0, help="Texts/s to plan for: how many instances?")
    ] = None,
    start: Annotated[float, typer.Option(min=1, help="Requests/s tried first.")] = 50.0,
    step: Annotated[str, typer.Option(metavar="TIME", help="Measured at each rate.")] = "8s",
    overload: Annotated[
        str, typer.Option(metavar="TIME", help="At each of 2, 5, 10 x; 0s leaves it out.")
    ] = "15s",
    out: Out = Path("capacity-result"),
    api_key: ApiKey = None,
    processes: Processes = 1,
) -> None:
    """Find how much one instance carries within its objectives.

    Doubles the rate until an objective fails, halves the gap to 3 %, confirms the rate five times,
    then overloads the service at 2, 5 and 10 times that rate and watches it recover.

    Exits 0 with a confirmed rate, 1 when no rate holds, 3 when it could not be measured,
    130 after Ctrl-C.

    Example: heed capacity http://127.0.0.1:8000 --slo slo.yaml --peak 5000
    """
    with _errors(NOT_MEASURED):
        _prepare(out)
        objectives = load_slo(slo)
        name = scenario or next(iter(objectives.scenarios))
        if name not in objectives.scenarios:
            known = ", ".join(objectives.scenarios)
            raise SloError(f"{slo}: no scenario {name!r}, only {known}")
        step_s = parse_duration(step, least_s=5)  # a shorter one shows no growing backlog
        settings = SearchSettings(start, step_s, parse_duration(overload), peak)
        bench = Bench([Target(url, api_key)], api_key, processes)
        bench.require_ready()
        with shown(bench):
            result = run_capacity(bench, objectives, name, settings)
    _conclude(out, result)


@reads(labels=False)
def workload(
    data: Annotated[str, typer.Argument(help="Your texts: CSV, JSONL, Parquet, a line each, ...")],
    columns: Columns,
    out: Annotated[Path, typer.Option(help="The workload file to write.")] = Path("workload.toml"),
    rate: Annotated[float, typer.Option(min=0.1, help="Requests per second.")] = 100.0,
) -> None:
    """Learn from your data how long its texts are, and write a workload with such texts.

    The file keeps 101 quantiles of lengths and no text.

    Example: heed workload tickets.csv --out tickets.toml --rate 200
    """
    with _errors(BAD_USE):
        lengths = learn(iter_texts(data, columns, _warn))
        with replacing(out) as temporary:
            temporary.write_text(to_toml(lengths, rate, Path(data).name), encoding="utf-8")
    typer.echo("characters in a text")
    for name, characters in describe(lengths):
        typer.echo(f"  {name:<13} {characters:>7,}")
    typer.echo(f"\nSaved: {out}\nTry: heed loadtest URL --workload {out} --rate {rate:g}")


@contextmanager
def _errors(exit_code: int) -> Iterator[None]:
    """What a user can mend is one line and `exit_code`."""
    try:
        yield
    except _ERRORS as error:
        raise _fail(str(error), exit_code) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _warn(line: str) -> None:
    Terminal(stderr=True).print(f"warning: {line}")


def _with_texts(load: Workload, file: Path | None, columns: Columns) -> Workload:
    if file is None:
        if columns != TEXTS_ONLY:
            raise TextsError("--text-column and the like are of --texts; expected both")
        return load
    for _ in iter_texts(file, columns, _warn):  # a bad file is better known before the run
        pass
    return load.model_copy(update={"texts": Texts.of(file, columns)})


def _result_file(path: Path) -> Path:
    """A result, or that in a folder of `--out`."""
    return path / "result.json" if path.is_dir() else path


def _prepare(out: Path) -> None:
    """A folder that cannot be made is better known before the run."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SaveError(f"cannot save the result in {out}: {error.strerror}") from None


def _save(out: Path, result: Result) -> None:
    """Write the files, the JSON first, and print the table whatever becomes of them."""
    renderers = {"result.json": Result.to_json, "report.html": to_html}
    if result.verdict:
        renderers |= {"junit.xml": to_junit, "summary.md": to_markdown}
    try:
        for name, render in renderers.items():
            with replacing(out / name) as temporary:
                temporary.write_text(render(result), encoding="utf-8")
    except FileError as error:
        exit_code = BAD_USE if result.command == "loadtest" else NOT_MEASURED
        raise _fail(f"cannot save the result: {error}", exit_code) from None
    finally:
        show(result)
    typer.echo(f"\nSaved: {' '.join(str(out / name) for name in renderers)}")


def _conclude(out: Path, result: Result) -> NoReturn:
    """Save, and exit as the verdict says."""
    _save(out, result)
    raise typer.Exit(result.verdict.exit_code if result.verdict else NOT_MEASURED)


def _finish_loadtest(result: Result) -> None:
    groups = [group for stage in result.stages for group in stage.groups]
    offered = sum(group.offered for group in groups)
    failed = offered - sum(group.outcomes.get(OK, 0) for group in groups)
    problem = f"{failed:,} of {offered:,} requests failed" if failed else ""
    if not offered:
        problem = "nothing was measured: no request was due after the warm-up"
    if problem:
        typer.echo(problem, err=True)
    if result.runs[0].interrupted or problem:
        raise typer.Exit(INTERRUPTED if result.runs[0].interrupted else 1)


def _fail(message: str, exit_code: int) -> typer.Exit:
    typer.echo(safe(f"Error: {message}"), err=True)
    return typer.Exit(exit_code)
