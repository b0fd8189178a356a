"""A process that serves: listening sockets, signals, the order of stopping, exit codes.

Exit codes: 0 stopped by SIGTERM or SIGINT with everything answered; 128 + the number of the signal
if it came twice, or before the service was ready; 70 the engine hangs. `heed serve` adds 1, an
address cannot be listened on, and 2, settings or model cannot be used.
"""

import asyncio
import contextlib
import gc
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Coroutine
from typing import NoReturn

import uvicorn
import uvloop
from fastapi import FastAPI
from starlette.types import ASGIApp

from service.admin import create_admin_app
from service.app import create_app
from service.drain import DrainingServer
from service.environment import warn_if_unknown
from service.http.connections import Connections, admin_connections, raise_file_limit
from service.http.hosts import Hosts
from service.http.keys import warn_if_open
from service.http.meter import ProtocolLimits
from service.http.protocol import guarded_protocol
from service.http.refusals import Refusal
from service.listeners import bind, listen, url_of
from service.loader import EngineLike, LoadedModel
from service.logs import ForwardHandler, make_logger
from service.metrics import Metrics
from service.registry import Registry
from service.runtime.safe import safe
from service.settings import Settings
from service.signals import Signals

EXIT_STALLED = 70  # EX_SOFTWARE of sysexits.h
_GC_THRESHOLD = 10_000  # objects that may be in a cycle
_GIL_S = 0.0002
_COMPUTING = ("engine-", "background", "encoder")  # names of threads
_CLOSE_S = 1.0  # for threads and admin requests to end, when every other request is answered
_STALL_FLUSH_S = 0.5  # for what the engine held up to reach its clients as 503


def run(
    settings: Settings,
    listener: socket.socket,
    engine: EngineLike | None = None,
    signals: Signals | None = None,
) -> int:
    """Serve on `listener` until a signal; the exit code of the process.

    Args:
        settings: checked settings.
        listener: bound, see `service.listeners`.
        engine: used in place of the one that the settings describe; for tests and benchmarks.
        signals: that the process has handled since it started; from now on if None.

    Raises:
        HeedError: the model cannot be served, or the admin address not be listened on.
    """
    signals = signals or Signals()
    forward = ForwardHandler(make_logger("warning"))
    for name in ("uvicorn", "service"):
        logger = logging.getLogger(name)
        logger.handlers = [forward]
        logger.propagate = False
    raise_file_limit(settings.max_connections + admin_connections(settings))
    with contextlib.ExitStack() as stack:
        listeners = [listener]
        if settings.admin_port is not None:
            listeners.append(stack.enter_context(bind(settings.admin_host, settings.admin_port)))
        app = create_app(settings, engine)
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        runner.run(_serve(app, settings, listeners, signals))
    exit_if_computing(0)
    return 0


def exit_if_computing(code: int) -> None:
    """End here if ONNX Runtime computes still: to take down the interpreter could crash it."""
    if any(thread.name.startswith(_COMPUTING) for thread in threading.enumerate()):
        _exit_now(code)


def tune() -> None:
    """Set the interpreter to serve what is loaded by now."""
    # That stays. To look through it again and again stopped all requests for 40 ms, every other
    # second under load.
    gc.collect()
    gc.freeze()
    # Requests leave next to no cycles. At Python's own threshold of 700 the collector took 13 % of
    # the loop's time under load.
    gc.set_threshold(_GC_THRESHOLD)
    # A worker that has computed waits for the GIL as long as this; the loop's letting go of it for
    # an instant, at every socket, is no use. Than with Python's 5 ms: 5 to 12 % more requests a
    # second at 64 connections, 5 to 19 % at 8, for the same CPU each.
    sys.setswitchinterval(_GIL_S)


async def _serve(
    app: FastAPI, settings: Settings, listeners: list[socket.socket], signals: Signals
) -> None:
    """Load the model, serve until `signals` say so, stop in order."""
    loop = asyncio.get_running_loop()
    async with app.router.lifespan_context(app):
        servers = _servers(app, settings)
        public = servers[0]
        tune()
        for listener in listeners:
            listen(listener, public.config.backlog)
        tasks = []  # referenced, or they could be collected
        app.state.on_stall = lambda: tasks.append(loop.create_task(_exit_stalled(public)))
        signals.follow(lambda: setattr(app.state, "ready", False))
        logger = make_logger("warning")
        warn_if_open(settings, logger)
        warn_if_unknown(os.environ, logger)
        _announce(app.state.registry.active.model, settings, listeners)
        running = [
            loop.create_task(server.serve(sockets=[listener]))
            for server, listener in zip(servers, listeners, strict=True)
        ]
        tasks.append(loop.create_task(_reload_when_asked(signals.reload, app.state.registry)))
        stop = loop.create_task(signals.stop.wait())
        await asyncio.wait([stop, *running], return_when=asyncio.FIRST_COMPLETED)
        public.end_keep_alive()
        await asyncio.sleep(settings.drain_delay_s)
        public.should_exit = True
        await running[0]
        # The admin port last: until then it says what is still in flight. Closing the registry
        # answers a change of the version that is under way.
        for server in servers[1:]:
            server.should_exit = True
        await asyncio.gather(app.state.registry.close(_CLOSE_S), *running[1:])
        for task in tasks:
            task.cancel()


def _servers(app: FastAPI, settings: Settings) -> list[DrainingServer]:
    """The public one, and that of the admin routes if they have a port."""

    def refuse_rest() -> Coroutine[None, None, None]:
        closing: Coroutine[None, None, None] = app.state.registry.close(0.0)
        return closing

    connections = Connections.from_settings(settings)
    app.state.answers.unread = connections.unread_bytes
    hosts = Hosts.of_public(settings)
    config = config_of(app, settings, app.state.metrics, connections, hosts)
    servers = [DrainingServer(config, settings.shutdown_grace_s, refuse_rest)]
    if settings.admin_port is not None:
        admin = config_of(
            create_admin_app(app),
            settings,
            connections=Connections.of_admin(),
            hosts=Hosts.of_admin(settings),
        )
        servers.append(DrainingServer(admin, _CLOSE_S))
    return servers


def config_of(
    app: ASGIApp,
    settings: Settings,
    metrics: Metrics | None = None,
    connections: Connections | None = None,
    hosts: Hosts | None = None,
) -> uvicorn.Config:
    """How uvicorn runs `app`: behind the guard, with none of its own logs.

    Args:
        app: called for what the guard lets through.
        settings: limits of the guard.
        metrics: count what it refuses; nothing does if None.
        connections: count those that are open; as the settings say if None.
        hosts: names that it answers to; any if None.
    """
    if connections is None:
        connections = Connections.from_settings(settings)
    if metrics is not None:
        metrics.count_connections(lambda: len(connections), Refusal)
    config = uvicorn.Config(
        app,
        lifespan="off",  # entered in `_serve`, so that its errors arrive there
        log_config=None,
        access_log=False,
        http=guarded_protocol(
            ProtocolLimits.from_settings(settings),
            connections,
            metrics.observe_refusal if metrics else lambda refusal: None,
            hosts,
        ),
        ws="none",
        server_header=False,
        timeout_keep_alive=settings.keep_alive_s,
        proxy_headers=False,  # nothing here asks who the client of a proxy is
    )
    config.load()
    return config


async def _reload_when_asked(asked: asyncio.Event, registry: Registry) -> None:
    while True:
        await asked.wait()
        asked.clear()
        with contextlib.suppress(Exception):  # reported by the registry, whatever it is
            await registry.reload()


async def _exit_stalled(server: DrainingServer) -> None:
    """The engine hangs, in a thread that cannot be ended: let the refusals out, then exit."""
    server.end_keep_alive()
    deadline = time.monotonic() + _STALL_FLUSH_S
    while server.busy and time.monotonic() < deadline:  # noqa: ASYNC110  nothing tells when it ends
        await asyncio.sleep(0.01)
    _exit_now(EXIT_STALLED)


def _exit_now(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)


def _announce(model: LoadedModel, settings: Settings, listeners: list[socket.socket]) -> None:
    """Say on stdout what is served and where; a full disk there is no reason not to serve."""
    url, *others = map(url_of, listeners)
    manifest = model.manifest
    docs = f", docs at {url}/docs" if settings.docs_enabled else ""
    lines = [
        f"Serving {manifest.name} version {manifest.version} on {url} "
        f"({model.engine.execution_provider}, {model.engine_workers} workers x "
        f"{model.intra_op_num_threads} threads){docs}",
        *(f"Admin routes on {other}" for other in others),
    ]
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        os.write(sys.stdout.fileno(), "".join(f"{safe(line)}\n" for line in lines).encode())
