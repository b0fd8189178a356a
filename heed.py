"""The `heed` command: mounts each part's cli.py, which is imported when its command runs."""

import difflib
import importlib
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from service.runtime.safe import guard, safe

# Command: (module, function or app, one line for `heed --help`), in the order of their use.
COMMANDS = {
    "demo": ("demo", "demo", "See all of it on the built-in sample."),
    "train": ("model.cli", "train", "Train a classifier on a labelled file."),
    "evaluate": ("export.cli", "evaluate", "Figures of a run or an artifact on labelled data."),
    "export": ("export.cli", "export", "Write a run as an artifact that can be served."),
    "serve": ("service.cli", "serve", "Serve an artifact over HTTP."),
    "keys": ("service.keys_cli", "app", "Make, list and revoke the API keys of a service."),
    "predict": ("export.cli", "predict", "Classify a file of texts."),
    "workload": ("loadtest.cli", "workload", "Learn a load profile from your own texts."),
    "loadtest": ("loadtest.cli", "loadtest", "Load a running service and report on it."),
    "capacity": ("loadtest.cli", "capacity", "Find how much one instance carries."),
    "gate": ("loadtest.cli", "gate", "Decide whether a running build may be released."),
}
# Here 2 means a regression and 1 a failed objective: whatever kept them from measuring is 3.
_GATES = ("capacity", "gate")
_NOT_MEASURED = 3
_UsageError: Any = typer.BadParameter.__bases__[0]  # typer has click inside and does not name it
# What libraries do by themselves: reports to the hub's host, a cache folder made by torch's import.
_QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TORCHINDUCTOR_CACHE_DIR": tempfile.gettempdir(),
}
_EXTRAS = {"model": "train", "export": "export", "service": "serve", "loadtest": "load"}


class _Command(TyperCommand):
    """A command whose options that take one value are given once."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # as `list_commands`
        """As any command's; the last of two values would win without a word."""
        _, _, order = self.make_parser(ctx).parse_args(list(args))
        for option, times in Counter(order).items():
            single = option.param_type_name == "option" and not getattr(option, "multiple", True)
            if single and times > 1 and not getattr(option, "is_flag", False):
                raise _UsageError(f"{option.opts[0]} is given {times} times; expected once", ctx)
        return super().parse_args(ctx, args)


class _Gate(_Command):
    """A command whose usage errors exit with 3."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  click's own, vendored
        """As any command's."""
        try:
            return super().make_context(*args, **kwargs)
        except _UsageError as error:
            error.exit_code = _NOT_MEASURED
            raise


class _LazyGroup(TyperGroup):
    """Lists the commands without importing them."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]  # typer.Context is what comes
        """Names, in the order of use."""
        return list(COMMANDS)

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # type: ignore[override]  # noqa: ANN401  as `make_context`
        """As any group's; a name that is not there gets the one that was probably meant."""
        try:
            return super().resolve_command(ctx, args)
        except _UsageError as error:
            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            error.message += f" Did you mean '{near[0]}'?" if near else ""
            raise

    def get_command(  # type: ignore[override]
        self, ctx: typer.Context, cmd_name: str
    ) -> TyperCommand | TyperGroup | None:
        """The command, imported only if it was asked for by name."""
        if cmd_name not in COMMANDS:
            return None
        module, function, line = COMMANDS[cmd_name]
        asked = cmd_name in sys.argv[1:2]
        part = _load(module, function) if asked else _stub(line)
        if not isinstance(part, typer.Typer):
            single = typer.Typer(add_completion=False, rich_markup_mode=None)
            kind = _Gate if cmd_name in _GATES else _Command
            single.command(cmd_name, cls=kind)(part)
            part = single
        else:
            for each in part.registered_commands:
                each.cls = _Command
        command = typer.main.get_command(part)
        assert isinstance(command, TyperCommand | TyperGroup)  # noqa: S101  typer makes no other
        command.name = cmd_name
        return command


def _load(module: str, function: str) -> Callable[..., None] | typer.Typer:
    try:
        command: Callable[..., None] | typer.Typer
        command = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(module.partition(".")[0], "dev")
        typer.echo(f"heed: {error.name} is not installed; pip install 'heed[{extra}]'", err=True)
        raise SystemExit(_NOT_MEASURED if function in _GATES else 2) from None
    return command


def _stub(line: str) -> Callable[[], None]:
    def stub() -> None: ...

    stub.__doc__ = line
    return stub


app = typer.Typer(
    cls=_LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"heed {version('heed')}")
        raise typer.Exit


@app.callback()
def heed(
    _: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_print_version, help="Print it."),
    ] = False,
) -> None:
    """From a labelled file to a text-classification endpoint.

    Example: heed train tickets.csv --out runs/tickets
    """


def main() -> None:
    """Entry point: an error that the user can mend is one line and exit code 2."""
    from service.runtime.errors import HeedError

    sys.stdout, sys.stderr = guard(sys.stdout), guard(sys.stderr)
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    gates = sys.argv[1:2] and sys.argv[1] in _GATES
    try:
        app()
    except HeedError as error:
        raise SystemExit(_complain(str(error), _NOT_MEASURED if gates else 2)) from None
    except OSError as error:  # disk full, no right, a folder for a file: whatever was not foreseen
        if os.environ.get("HEED_TRACEBACK"):
            raise
        named = f"{error.filename}: " if error.filename else ""
        line = f"{named}{error.strerror or error}"
        raise SystemExit(_complain(line, _NOT_MEASURED if gates else 2)) from None
    except Exception as error:  # a bug of ours: short for users, whole on request
        if os.environ.get("HEED_TRACEBACK"):
            raise
        line = f"unexpected {type(error).__name__}: {error} (HEED_TRACEBACK=1 shows where)"
        raise SystemExit(_complain(line, _NOT_MEASURED if gates else 1)) from None


def _complain(line: str, code: int) -> int:
    typer.echo(safe(f"heed: {line}"), err=True)
    return code


if __name__ == "__main__":
    main()
