"""`heed train`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from model.columns import Columns
from model.figures import remarks, summary
from model.options import MergeLabels, reads
from model.rows import require_source
from service.runtime.terminal import Terminal


@reads(labels=True)
def train(
    train_source: Annotated[
        str,
        typer.Argument(
            metavar="TRAIN",
            help="CSV, TSV, JSON, JSONL, Parquet, fastText's lines; folder, archive, hub.",
        ),
    ],
    columns: Columns,
    out: Annotated[Path, typer.Option(help="Folder for the run.")],
    valid: Annotated[str | None, typer.Option(help="Validation data. Default: held out.")] = None,
    test: Annotated[str | None, typer.Option(help="Test data, looked at once, at the end.")] = None,
    preset: Annotated[str, typer.Option(help="tiny, small or base.")] = "small",
    seed: Annotated[int | None, typer.Option(min=0, help="Same seed, same result. [0]")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="At most. [4 to 15, by size]")] = None,
    merge_labels: MergeLabels = False,
    config: Annotated[Path | None, typer.Option(help="TOML over the preset.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a run stopped.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run in OUT.")] = False,
) -> None:
    """Train a classifier on a labelled file.

    Example: heed train tickets.csv --test held_back.csv --out runs/tickets
    """
    from model.config import load_config  # `heed train --help` without torch

    settings = load_config(preset, config, seed=seed, epochs=epochs)
    console = Terminal(stderr=True)
    for source in filter(None, (train_source, valid, test)):
        require_source(source, console.print)  # before torch is imported, which takes seconds
    from model.folder import what_now
    from model.parts import Request

    request = Request(
        train_source, out, valid, test, columns, settings, resume, overwrite, merge_labels
    )
    try:
        # torch: seconds in which somebody may change his mind
        from model.baseline import lines
        from model.run import run_training

        with RunDisplay(console) as display:
            metrics = run_training(request, display)
    except KeyboardInterrupt:
        console.print(what_now(out, overwrite=overwrite))
        raise typer.Exit(130) from None
    training = metrics["training"]
    console.print(
        f"kept epoch {training['best_epoch']} of {training['epochs']}, "
        f"{training['train_s']:.0f} s, {training['rows_per_s']:,} rows/s"
    )
    for part in ("validation", "test"):
        if part in metrics:
            console.print(f"{part}: {summary(metrics[part])}")
            for line in remarks(metrics[part]):
                console.print(f"{part}: {line}")
    for line in lines(metrics["baseline"]):
        console.print(line)
    console.print(f"next: heed export {out} --out artifacts/{out.name}", soft_wrap=True)


class RunDisplay:
    """A progress bar an epoch, with the mean loss and rows/s; a `model.run.Listener`."""

    def __init__(self, console: Terminal) -> None:
        self.console = console
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.3f}  {task.fields[rate]:,.0f} rows/s"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._loss = 0.0

    def __enter__(self) -> "RunDisplay":
        """Start drawing."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing."""
        self._progress.stop()

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self.console.print(line)

    def started(self, epoch: int, rows: int) -> None:
        """A new bar."""
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task("", total=rows, epoch=epoch, loss=0.0, rate=0.0)
        self._loss = 0.0

    def stepped(self, loss: float, rows: int) -> None:
        """Move the bar."""
        assert self._task is not None  # noqa: S101  `started` comes first
        self._loss = 0.95 * self._loss + 0.05 * loss if self._loss else loss
        task = self._progress.tasks[0]
        rate = task.completed / task.elapsed if task.elapsed else 0.0
        self._progress.update(self._task, advance=rows, loss=self._loss, rate=rate)

    def validated(self, record: Mapping[str, float]) -> None:
        """One line an epoch stays."""
        self.say(
            f"epoch {record['epoch']:>2.0f}  loss {record['train_loss']:.3f}  validation NLL "
            f"{record['valid_nll']:.3f}, accuracy {100 * record['valid_accuracy']:.1f} % "
            f"({100 * record['valid_accuracy_low']:.1f} to "
            f"{100 * record['valid_accuracy_high']:.1f})  {record['train_s']:.0f} s"
        )
