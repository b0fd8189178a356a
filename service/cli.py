"""`heed serve`."""

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from service.runtime.safe import safe
from service.signals import Signals

if TYPE_CHECKING:
    from service.settings import Settings


def serve(
    unnamed: Annotated[Path | None, typer.Argument(hidden=True)] = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", help="Artifact folder, or a folder of versions. [HEED_MODEL]"),
    ] = None,
    host: Annotated[
        str | None, typer.Option("--host", help="Address to listen on. [HEED_HOST, 127.0.0.1]")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", help="Port, 0 for a free one. [HEED_PORT, 8000]")
    ] = None,
) -> None:
    """Serve a model over HTTP until SIGTERM or Ctrl-C.

    Every other setting is a HEED_ variable of the environment; options win over these.

    Example: heed serve --model artifacts/support --port 8000
    """
    if unnamed is not None:
        _refuse_unnamed(unnamed)
    signals = Signals()  # before anything that takes long: from now on none of them is a surprise
    _open_standard_streams()
    given = {"model": model, "host": host, "port": port}
    raise SystemExit(_serve({k: value for k, value in given.items() if value is not None}, signals))


def _serve(given: dict[str, Any], signals: Signals) -> int:
    from pydantic import ValidationError

    from service.listeners import ListenError, bind
    from service.runtime.errors import HeedError
    from service.runtime.versions import find_versions
    from service.settings import Settings, explain_invalid

    try:
        settings = Settings(**given)
    except ValidationError as error:
        _fail(explain_invalid(error), 2)
    try:
        find_versions(settings.model, warn=False)  # before a second of imports
        with bind(settings.host, settings.port) as listener:
            return _run(settings, listener, signals)
    except ListenError as error:
        _fail(str(error), 1)
    except HeedError as error:
        _say(str(error))
        return 2


def _run(settings: "Settings", listener: socket.socket, signals: Signals) -> int:
    from service.listeners import ListenError
    from service.runtime.errors import HeedError
    from service.server import exit_if_computing, run

    try:
        return run(settings, listener, signals=signals)
    except ListenError:  # of the admin port
        raise
    except HeedError as error:
        _say(str(error))
        exit_if_computing(2)  # a load that did not end in time
        return 2


def _refuse_unnamed(path: Path) -> NoReturn:
    """`heed serve FOLDER`, as other commands take theirs."""
    from service.runtime.artifact import ArtifactError
    from service.runtime.versions import find_versions

    try:
        find_versions(path, warn=False)
    except ArtifactError as error:
        _fail(str(error), 2)
    _fail(f"the model is an option: heed serve --model {path}", 2)


def _open_standard_streams() -> None:
    """What was closed before the start leads nowhere: else the next socket would take its number.

    Lines that libraries write to stderr, say, would then reach a client.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def _fail(reason: str, code: int) -> NoReturn:
    _say(reason)
    raise SystemExit(code)


def _say(reason: str) -> None:
    print(safe(f"heed serve: {reason}"), file=sys.stderr)
