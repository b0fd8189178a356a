"""The `loadtest` command: options in, a table and two files out."""

import re
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from loadtest.report import to_html
from loadtest.result import Result
from loadtest.runner import RunError, run_loadtest
from loadtest.target import TargetError
from loadtest.terminal import run_with_progress, show
from loadtest.texts import TextsError

UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600}
BAD_USE = 2
INTERRUPTED = 130  # what a shell reports for a program ended by Ctrl-C


class DurationError(ValueError):
    """Not a duration, or too short a one."""


def parse_duration(text: str, least_s: int = 0) -> int:
    """Seconds of `10s`, `2m`, `1h` or `45`; DurationError for anything else or less."""
    match = re.fullmatch(r"([0-9]{1,6})([smh]?)", text)
    if match is None:
        raise DurationError(f"{text!r} is not a duration such as 10s, 2m, 1h or 45")
    seconds = int(match[1]) * UNITS_S[match[2]]
    if seconds < least_s:
        raise DurationError(f"{text!r} is too short, at least {least_s}s")
    return seconds


Url = Annotated[str, typer.Argument(help="Address of the service, http://host:port.")]
Users = Annotated[int, typer.Option(min=1, help="How many send at the same time.")]
Duration = Annotated[str, typer.Option(metavar="TIME", help="10s, 2m, 1h or plain seconds.")]
WarmUp = Annotated[str, typer.Option(metavar="TIME", help="Load before it, not measured.")]
Texts = Annotated[
    Path | None,
    typer.Option(help="One text a line, or .csv or .jsonl with a text column; .gz too."),
]
Out = Annotated[Path, typer.Option(help="Writes OUT.json and OUT.html.")]
ApiKey = Annotated[str | None, typer.Option(envvar="HEED_API_KEY", help="Sent as bearer token.")]


def loadtest(
    url: Url,
    users: Users = 8,
    duration: Duration = "30s",
    texts: Texts = None,
    out: Out = Path("loadtest-result"),
    api_key: ApiKey = None,
    warm_up: WarmUp = "2s",
) -> None:
    """Measure latency and throughput of a running service under load.

    Each user sends a text, waits for the answer and sends the next.

    Exits 0 when every request was answered, 1 when any failed,
    2 when the test could not be made, 130 after Ctrl-C.

    Example: heed loadtest http://127.0.0.1:8000 --users 16 --duration 1m
    """
    _save(out, {})  # a folder that cannot be made is better known before the run
    try:
        duration_s, warm_up_s = parse_duration(duration, least_s=1), parse_duration(warm_up)
        run = partial(
            run_loadtest, url, users, duration_s, texts, api_key=api_key, warm_up_s=warm_up_s
        )
        result = run_with_progress(run, warm_up_s + duration_s)
    except (DurationError, TargetError, RunError, TextsError) as error:
        raise _fail(str(error)) from None
    try:
        _save(out, {"json": result.to_json(), "html": to_html(result)})
    finally:  # neither a full disk nor a closed pipe takes both
        show(result)
    typer.echo(f"\nSaved: {out}.json {out}.html")
    _finish(result)


def _finish(result: Result) -> None:
    problem = f"{result.failed:,} of {result.requests:,} requests failed" if result.failed else ""
    if not result.requests:
        problem = "nothing was measured: no request was sent after the warm-up"
    if problem:
        typer.echo(problem, err=True)
    if result.interrupted or problem:
        raise typer.Exit(INTERRUPTED if result.interrupted else 1)


def _save(out: Path, contents: dict[str, str]) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        for ending, content in contents.items():
            Path(f"{out}.{ending}").write_text(content, encoding="utf-8")
    except OSError as error:
        raise _fail(f"cannot save the result: {error}") from None


def _fail(message: str) -> typer.Exit:
    typer.echo(f"Error: {message}", err=True)
    return typer.Exit(BAD_USE)
