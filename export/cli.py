"""`heed evaluate`, `heed export`, `heed predict`."""

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from export.errors import ExportError
from model.columns import Columns
from model.figures import accuracy_text, remarks, summary
from model.options import MergeLabels, reads
from model.rows import require_source
from service.runtime.terminal import Terminal
from service.runtime.versions import RUN_FILE, Versions, find_versions, is_run


@reads(labels=True)
def evaluate(
    source: Annotated[Path, typer.Argument(metavar="RUN_OR_ARTIFACT", help="What to evaluate.")],
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="Labelled file, folder, archive or hub data set.")
    ],
    columns: Columns,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the figures here.")
    ] = None,
    merge_labels: MergeLabels = False,
) -> None:
    """Accuracy, macro-F1, calibration error and a table per class on labelled data.

    Example: heed evaluate artifacts/tickets held_back.csv --json figures.json
    """
    from model.data import read_labelled
    from service.runtime.files import replacing

    if json_file and json_file.is_dir():
        raise ExportError(f"--json {json_file} is a folder, expected a file")
    artifact = None if is_run(source) else find_versions(source)
    require_source(data, Terminal(stderr=True).print)
    rows = read_labelled(data, columns)
    from export.evaluate import evaluate as measure  # torch: what can be refused before it is

    figures = measure(_chosen(artifact) if artifact else source, rows, merge_labels=merge_labels)
    for finding in figures["findings"]:
        if finding["kind"] != "unseen":  # those are named below the figures
            Terminal(stderr=True).print(f"{finding['level']}: {finding['message']}")
    if json_file:
        with replacing(json_file) as temporary:
            text = json.dumps(figures, indent=2, ensure_ascii=False) + "\n"
            temporary.write_text(text, "utf-8")
    table = Table(box=None, pad_edge=False)
    table.add_column("label", overflow="fold")
    for name in ("precision", "recall", "F1", "rows"):
        table.add_column(name, justify="right", no_wrap=True)
    for label, row in figures["per_class"].items():
        percents = [f"{100 * row[key]:.1f}" for key in ("precision", "recall", "f1")]
        table.add_row(label, *percents, f"{row['support']:,}")
    console = Terminal()
    console.print_table(table)
    console.print(summary(figures))
    for line in remarks(figures):
        console.print(line)


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run.")],
    out: Annotated[Path, typer.Option(help="Folder for the artifact; must not exist.")],
    precision: Annotated[str, typer.Option(help="fp32 or int8.")] = "fp32",
    name: Annotated[
        str | None, typer.Option(help="Default: the folder's name; of models/tickets/2, tickets.")
    ] = None,
    version: Annotated[str | None, typer.Option(help="Default: 1; of models/tickets/2, 2.")] = None,
) -> None:
    """Write a run as an artifact: one ONNX file, the tokenizer, a manifest.

    Example: heed export runs/tickets --out artifacts/tickets
    """
    from export.naming import named, served_as

    if not is_run(run):
        raise ExportError(_not_a_run(run))
    name, version = named(out, name, version)
    from export.bundle import export_run  # torch: what can be refused before it is

    manifest = export_run(run, out, precision, name, version)
    size = sum(file.size for file in manifest.files.values()) / 1e6
    console = Terminal()
    console.print(
        f"{out}: {manifest.name} version {manifest.version}, {precision}, {size:.1f} MB; logits "
        f"within {manifest.parity['max_logit_difference']:.1g} of PyTorch's, same label on "
        f"{100 * manifest.parity['label_agreement']:.1f} % of {manifest.parity['texts']:.0f} texts"
    )
    for part, figures in manifest.metrics.items():
        console.print(f"{part}: {accuracy_text(figures)}, n = {figures['n']:,}")
    console.print(f"next: heed serve --model {shlex.quote(str(served_as(out)))}", soft_wrap=True)


@reads(labels=False)
def predict(
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT", help="A file (CSV, JSONL, Parquet, .txt, ...), a folder, - for lines."
        ),
    ],
    columns: Columns,
    model: Annotated[Path, typer.Option(help="Artifact, or a folder of versions.")],
    out: Annotated[str, typer.Option(help=".csv, .tsv, .jsonl, .parquet, or - for stdout.")],
    escape_formulas: Annotated[
        bool,
        typer.Option("--escape-formulas", help="' before .csv and .tsv cells like =1+2 and @x."),
    ] = False,
) -> None:
    """Classify a file of texts: its columns come back with the label and all probabilities.

    Example: heed predict --model artifacts/tickets inbox.csv --out labelled.csv
    """
    found = find_versions(model)
    from export.predict import Predicted, predict_file
    from model.columns import listed
    from service.runtime.predictor import Predictor

    console = Terminal(stderr=True)
    require_source(source, console.print)
    predictor = Predictor(_chosen(found))
    bar = Progress(
        SpinnerColumn(),
        MofNCompleteColumn(),
        TextColumn("rows  {task.fields[rate]:,.0f} rows/s"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal or (out == "-" and Terminal().is_terminal),
        redirect_stdout=False,  # rows are no lines above the bar
    )
    with bar:
        task = bar.add_task("", total=None, rate=0.0)

        def on_rows(done: Predicted) -> None:
            bar.update(task, completed=done.rows, rate=done.rate)

        try:
            done = predict_file(predictor, source, out, columns, on_rows, escape_formulas)
        except KeyboardInterrupt as stopped:
            console.print(str(stopped) or "stopped")
            raise typer.Exit(130) from None
    console.print(f"{done.rows:,} rows in {done.seconds:.1f} s, {done.rate:,.0f} rows/s")
    if done.truncated:
        console.print(
            f"{done.truncated:,} of {done.rows:,} rows were longer than "
            f"{predictor.manifest.max_length} tokens and were cut"
        )
    if done.blank:
        has = "row has" if done.blank == 1 else "rows have"
        console.print(f"{done.blank:,} {has} no text: the prediction is empty")
    if done.replaced:
        console.print(f"columns of an earlier prediction were replaced: {listed(done.replaced)}")
    for note in done.notes:
        console.print(f"note: {note}")


def _chosen(found: Versions) -> Path:
    """The artifact of the highest version, named on stderr: people should know which it is."""
    line = f"model {found.model} version {found.newest} ({found.path()})"
    Terminal(stderr=True).print(line, soft_wrap=True)
    return found.path()


def _not_a_run(path: Path) -> str:
    if not path.exists():
        return f"{path} does not exist; expected a run of heed train"
    return f"{path} is not a run: it holds no {RUN_FILE}"
