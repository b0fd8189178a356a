"""The options of every command that reads files of texts: the same names, the same meaning."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from model.columns import Columns

_TEXT = typer.Option("--text-column", help="Column of the text; several are joined.")
_LABEL = typer.Option("--label-column", help="Column of the label.")
MergeLabels = Annotated[
    bool,
    typer.Option("--merge-labels", help="Labels that differ by spelling only become one."),
]
_OPTIONS: dict[str, tuple[Any, Any, Any]] = {
    "delimiter": (
        str | None,
        None,
        typer.Option(
            help=r"Between cells; \t is a tab. Default: a comma, in .tsv a tab.",
            callback=lambda value: "\t" if value == r"\t" else value,
        ),
    ),
    "header": (
        bool | None,
        None,
        typer.Option(
            "--header/--no-header",
            help="Whether the first row names the columns; positions 0, 1, ... are columns too.",
        ),
    ),
    "quoting": (
        bool | None,
        None,
        typer.Option(
            "--quoting/--no-quoting", help="Whether cells may be quoted. Default: in .csv."
        ),
    ),
    "encoding": (str | None, None, typer.Option(help="Of the files. Default: utf-8.")),
    "format": (
        str | None,
        None,
        typer.Option(help="csv, tsv, jsonl, json, txt, ft, parquet. Default: by the suffix."),
    ),
    "skip_bad": (
        bool,
        False,
        typer.Option("--skip-bad", help="Leave out rows that cannot be used, and say which."),
    ),
}


def reads(*, labels: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of reading; it gets them as its argument `columns`.

    Args:
        labels: whether it reads labels too.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [p for name, p in inspect.signature(command).parameters.items() if name != "columns"]
        added = [_parameter("text_column", list[str], ["text"], _TEXT)]
        if labels:
            added.append(_parameter("label_column", str, "label", _LABEL))
        added += [_parameter(name, *option) for name, option in _OPTIONS.items()]

        @functools.wraps(command)
        def with_columns(**given: Any) -> None:  # noqa: ANN401  whatever options hold
            text, label = tuple(given.pop("text_column")), given.pop("label_column", None)
            layout = {name: given.pop(name) for name in _OPTIONS}
            command(columns=Columns(text, label, **layout), **given)

        with_columns.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]
        with_columns.__annotations__ = {p.name: p.annotation for p in (*own, *added)}
        return with_columns

    return decorate


def _parameter(name: str, kind: Any, default: Any, option: Any) -> inspect.Parameter:  # noqa: ANN401
    annotation = Annotated[kind, option]
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )
