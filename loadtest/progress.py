"""What runs now, and how much of it has passed: a bar in a terminal, plain lines elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from loadtest.bench import Bench
from loadtest.gate import START_S
from service.runtime.terminal import Terminal


@contextmanager
def shown(bench: Bench) -> Iterator[Bench]:
    """The bench, telling standard error about its plans."""
    console = Terminal(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with bar:
        task = bar.add_task("")

        def begin(label: str, seconds: float) -> None:
            if not console.is_terminal:
                console.print(f"{label} ({seconds:.0f} s)")
            bar.reset(task, description=label, total=seconds + START_S)

        bench.on_plan = begin
        bench.on_progress = lambda seconds: bar.update(task, completed=seconds)
        yield bench
