"""What a run looks like in a terminal: a progress bar on stderr, then a table on stdout."""

from collections.abc import Callable

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from loadtest.report import facts, headline, notes
from loadtest.result import Result


def run_with_progress(run: Callable[..., Result], expected_s: int) -> Result:
    """Call `run(on_progress=...)` behind a bar that fills in `expected_s` seconds."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("measuring", total=expected_s)
        return run(on_progress=lambda seconds: progress.update(task, completed=seconds))


def show(result: Result) -> None:
    """Print the figures, the errors by kind, the run facts and the notes."""
    errors = {f"  {kind}": f"{count:,}" for kind, count in result.errors.items()}
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in (headline(result) | errors | facts(result)).items():
        table.add_row(name, value)
    console = Console(markup=False, highlight=False)
    console.print(table)
    for note in notes(result):
        console.print(note, soft_wrap=True)
