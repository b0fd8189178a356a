"""`heed serve`."""

import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError

from service.listeners import ListenError, bind
from service.runtime.errors import HeedError
from service.settings import Settings, explain_invalid


def serve(
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
    given: dict[str, Any] = {"model": model, "host": host, "port": port}
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        _fail(explain_invalid(error), 2)
    try:
        with bind(settings.host, settings.port) as listener:
            from service.server import run

            code = run(settings, listener)
    except ListenError as error:
        _fail(str(error), 1)
    except HeedError as error:
        _fail(str(error), 2)
    raise SystemExit(code)


def _fail(reason: str, code: int) -> NoReturn:
    print(f"heed serve: {reason}", file=sys.stderr)
    raise SystemExit(code)
