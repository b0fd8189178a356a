"""What a result looks like in a terminal: tables on standard output."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from loadtest import figures
from loadtest.facts import facts, notes
from loadtest.result import OK, Outcome, Result, Stage
from loadtest.row import row
from service.runtime.safe import safe
from service.runtime.terminal import Terminal

PIPED_WIDTH = 110  # columns where there is no terminal to ask
LEAST_WIDTH = 80  # columns; in less no figure could be read
STYLES: dict[Outcome, str] = {
    "pass": "green",
    "warn": "yellow",
    "fail": "red",
    "regression": "red",
    "inconclusive": "yellow",
    "invalid": "yellow",
}


def show(result: Result) -> None:
    """Print the verdict, what it rests on, the figures, the run facts and the notes."""
    console = Terminal(piped_width=PIPED_WIDTH)
    if result.verdict:
        outcome = result.verdict.outcome
        words = f"{figures.MARKS[outcome]} {outcome.upper()}"
        said = safe(figures.sentence(result))
        console.print(Text(words, style=f"bold {STYLES[outcome]}"), said)
        console.print()
    for table in (_objectives(result), _conditions(result), _overload(result)):
        if table.row_count:
            console.print_table(table, LEAST_WIDTH)
            console.print()
    sections = figures.sections(result)
    for name, stages in sections.items():
        if result.capacity or len(sections) > 1:
            console.print(Text(safe(name), style="bold"))
        console.print_table(_pairs(_headline(stages)))
    console.print_table(_pairs(facts(result)))
    for note in notes(result):
        console.print(note)


def _objectives(result: Result) -> Table:
    interval = figures.interval_name(result)
    table = _table(["objective", "measured", interval, "limit", "samples", "outcome"], 1, 5)
    for found in map(row, figures.judgements(result)):
        what = _with_detail(found.objective, found.detail)
        said = f"{figures.MARKS[found.outcome]} {found.outcome}"
        table.add_row(what, *found[1:5], Text(said, style=STYLES[found.outcome]))
    return table


def _conditions(result: Result) -> Table:
    table = _table(["condition", "measured", "limit", "outcome"], 4, 4)
    for check in result.verdict.checks if result.verdict else []:
        name = _with_detail(check.name, "" if check.ok else check.advice)
        outcome = Text("✓ ok", style="green") if check.ok else Text("? invalid", style="yellow")
        table.add_row(name, check.measured, check.limit, outcome)
    return table


def _overload(result: Result) -> Table:
    table = _table(["overload", "what came of it"], 2, 2)
    for each in result.capacity.overload if result.capacity else []:
        table.add_row(figures.overload_name(each), figures.overload_words(each))
    return table


def _headline(stages: Sequence[Stage]) -> dict[str, str]:
    """The figures, then the failures one by one."""
    tiles = figures.headline(list(stages))
    counts = figures.outcomes(stages)
    said = {t.name: f"{t.value}  ({t.note})" if t.note else t.value for t in tiles}
    details = figures.details(stages)
    failures = {
        f"  {kind}": f"{count:,}  {details.get(kind, '')}".rstrip()
        for kind, count in counts.items()
        if kind != OK
    }
    return said | failures


def _table(head: Sequence[str], first_number: int, after_numbers: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False)
    for place, name in enumerate(head):
        number = first_number <= place < after_numbers
        kept = number or place == len(head) - 1
        table.add_column(
            name,
            justify="right" if number else "left",
            no_wrap=kept and len(head) > 2,
            overflow="fold",
        )
    return table


def _pairs(said: Mapping[str, str]) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in said.items():
        table.add_row(name, value)
    return table


def _with_detail(name: str, detail: str) -> Text:
    return Text(safe(name)).append(f"\n{safe(detail)}" if detail else "", style="dim")
