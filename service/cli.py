"""`heed serve`."""

import asyncio
import gc
import logging
import math
import signal
import socket
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from pydantic import ValidationError

from service.runtime.errors import HeedError
from service.settings import Settings, explain_invalid

if TYPE_CHECKING:
    from service.loader import LoadedModel


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
    listener = _bind(settings.host, settings.port)
    try:
        _run(settings, listener)
    except HeedError as error:
        _fail(str(error), 2)
    finally:
        listener.close()


def _run(settings: Settings, listener: socket.socket) -> None:
    """Serve on `listener` until a signal; everything accepted is answered first."""
    import uvicorn
    import uvloop

    from service.app import create_app
    from service.logs import ForwardHandler, make_logger

    app = create_app(settings)

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            app.state.ready = False
            super().handle_exit(sig, frame)

    async def main() -> None:
        server = Server(
            uvicorn.Config(
                app,
                lifespan="off",  # entered here, so that its errors arrive here
                log_config=None,
                access_log=False,
                ws="none",
                server_header=False,
                timeout_keep_alive=settings.keep_alive_s,
                timeout_graceful_shutdown=math.ceil(settings.shutdown_grace_s),
            )
        )
        async with app.router.lifespan_context(app):
            # What is loaded now stays. To look through it again and again stopped all requests for
            # 40 ms, every other second under load.
            gc.collect()
            gc.freeze()
            listener.listen(server.config.backlog)
            for number in (signal.SIGTERM, signal.SIGINT):
                # Before uvicorn does it, so that none is lost in between; and as it raises the
                # signal again when all is done, which shall end in exit code 0.
                signal.signal(number, server.handle_exit)
            _announce(app.state.registry.resolve().model, settings, listener)
            await server.serve(sockets=[listener])

    logger = logging.getLogger("uvicorn")
    logger.handlers = [ForwardHandler(make_logger("warning"))]
    logger.propagate = False
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def _bind(host: str, port: int) -> socket.socket:
    """A bound socket, not listening yet: a port in use is found before the model is loaded."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        _fail(f"cannot listen on {host}:{port}: {error.strerror}", 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        _fail(f"cannot listen on {host}:{port}: {error.strerror}", 1)
    return listener


def _announce(model: "LoadedModel", settings: Settings, listener: socket.socket) -> None:
    name, port = listener.getsockname()[:2]
    url = f"http://{f'[{name}]' if ':' in name else name}:{port}"
    manifest = model.manifest
    docs = f", docs at {url}/docs" if settings.docs_enabled else ""
    print(
        f"Serving {manifest.name} version {manifest.version} on {url} "
        f"({model.engine.execution_provider}, {model.engine_workers} workers x "
        f"{model.intra_op_num_threads} threads){docs}",
        flush=True,
    )


def _fail(reason: str, code: int) -> NoReturn:
    print(f"heed serve: {reason}", file=sys.stderr)
    raise SystemExit(code)
