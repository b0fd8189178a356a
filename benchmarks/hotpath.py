"""Where the CPU time of a request goes: five servers, each with one part more than the one before.

Run as `python benchmarks/hotpath.py artifacts/demo [--rounds 5]`. Takes about 5 s a round. Each
server is a process of its own and gets the same load from 64 connections that always have one
request in flight; its CPU seconds (/proc, user and system, all threads) are divided by its
answers. Rounds are interleaved, medians printed. The difference of two rows is what a part costs.
"""

import argparse
import asyncio
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

TEXT = "I was charged twice for one purchase and want my money back"
BODY = b'{"inputs": "%s"}' % TEXT.encode()
REQUEST = (
    b"POST /v1/classify HTTP/1.1\r\nHost: heed\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
)
CONNECTIONS = 64
SECONDS = 1.0
WARM_UP = 2_000  # requests, before anything is counted
VARIANTS = {
    "socket": "sockets, event loop, HTTP parser, guard (an app that answers {})",
    "fastapi": "+ a FastAPI endpoint that answers {}",
    "service": "+ Heed's layers: admission, JSON, checks, answer, headers, metrics, log",
    "batching": "+ tokenising, scheduler, worker threads, softmax (an engine that does nothing)",
    "engine": "+ the model",
}


def serve(variant: str, artifact: str) -> None:
    """Body of a server process: says its port, serves until it is terminated."""
    from service.listeners import bind
    from service.settings import Settings

    settings = Settings(model=Path(artifact), execution_provider="cpu", key_rate_limit=0.0)
    listener = bind("127.0.0.1", 0)
    print(listener.getsockname()[1], flush=True)
    if variant in {"socket", "fastapi"}:
        _serve_app(_empty_app() if variant == "socket" else _fastapi_app(), settings, listener)
        return
    from service import server

    if variant == "service":
        _answer_without_computing()
    raise SystemExit(server.run(settings, listener, _Nothing() if variant == "batching" else None))


def _serve_app(app: Any, settings: Any, listener: socket.socket) -> None:  # noqa: ANN401  ASGI
    import uvicorn
    import uvloop

    from service.server import config_of, tune

    async def main() -> None:
        config = config_of(app, settings)
        tune()
        listener.listen(128)
        await uvicorn.Server(config).serve(sockets=[listener])

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def _empty_app() -> Callable[..., Coroutine[None, None, None]]:
    fields = [(b"content-type", b"application/json"), (b"content-length", b"2")]

    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": b"{}"})

    return app


def _fastapi_app() -> Any:  # noqa: ANN401  FastAPI is imported in the process that needs it
    from fastapi import FastAPI, Request, Response

    app = FastAPI(telemetry={"tracing": False, "metrics": False, "logs": False})

    async def answer(request: Request) -> Response:
        await request.body()
        return Response(b"{}", media_type="application/json")

    app.post("/v1/classify")(answer)
    return app


def _answer_without_computing() -> None:
    """Every request gets the answer of the first one."""
    from service.classifier import Classifier

    computed = Classifier.classify
    known: list[Any] = []

    async def classify(self: Classifier, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        if not known:
            known.append(await computed(self, *args, **kwargs))
        return known[0]

    Classifier.classify = classify  # type: ignore[method-assign]


class _Nothing:
    """An engine that costs nothing."""

    execution_provider = "cpu"

    def run(self, input_ids: Any, attention_mask: Any) -> Any:  # noqa: ANN401  numpy arrays
        import numpy as np

        from service.runtime.engine import EngineOutput

        rows, width = input_ids.shape
        logits = np.zeros((rows, _num_labels()), dtype=np.float32)
        return EngineOutput(logits, np.zeros((rows, width), dtype=np.float32))

    def warm_up(self, max_batch_size: int, max_batch_tokens: int) -> list[tuple[int, float]]:
        return []


def _num_labels() -> int:
    return int(os.environ["HOTPATH_LABELS"])


async def load(port: int, requests: int | None, seconds: float) -> int:
    """Keep `CONNECTIONS` busy for a while; the number of answers."""
    answered = 0
    ends = time.monotonic() + seconds

    async def client() -> None:
        nonlocal answered
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.monotonic() < ends and (requests is None or answered < requests):
            writer.write(REQUEST)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"answered {head[:60]!r}")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            answered += 1
        writer.close()

    await asyncio.gather(*(client() for _ in range(CONNECTIONS)))
    return answered


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def in_process_us(artifact: str) -> float:
    """CPU microseconds of tokenising and computing a text in batches of 32, in this process."""
    from service.runtime.predictor import Predictor
    from service.runtime.tokenizer import pad

    predictor = Predictor(artifact, "cpu")
    best = float("inf")
    for _ in range(20):
        started = time.process_time()
        for _ in range(10):
            rows = [predictor.tokenizer.encode(TEXT).input_ids for _ in range(32)]
            predictor.engine.run(*pad(rows))
        best = min(best, (time.process_time() - started) / 320)
    return best * 1e6


def measure(artifact: str, rounds: int) -> None:
    """Print the table."""
    from service.runtime.versions import find_versions

    found = find_versions(artifact)
    os.environ["HOTPATH_LABELS"] = str(len(found.manifests[found.newest].labels))
    import uvloop

    processes = {variant: _start(variant, artifact) for variant in VARIANTS}
    costs: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    rates: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    inside = []
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            for _, port in processes.values():
                runner.run(load(port, WARM_UP, 30.0))
            for number in range(rounds):
                for variant in list(VARIANTS)[:: 1 if number % 2 else -1]:
                    process, port = processes[variant]
                    before = cpu_s(process.pid)
                    answers = runner.run(load(port, None, SECONDS))
                    costs[variant].append((cpu_s(process.pid) - before) / answers * 1e6)
                    rates[variant].append(answers / SECONDS)
                inside.append(in_process_us(artifact))
    finally:
        for process, _ in processes.values():
            process.terminate()
            process.wait(30)
    _print(costs, rates, inside)


def _print(
    costs: dict[str, list[float]], rates: dict[str, list[float]], inside: list[float]
) -> None:
    before = 0.0
    print("CPU us/request   adds   requests/s   what")
    for variant, what in VARIANTS.items():
        cost = statistics.median(costs[variant])
        rate = statistics.median(rates[variant])
        print(f"{cost:14.0f} {cost - before:6.0f} {rate:12.0f}   {what}")
        before = cost
    alone = statistics.median(inside)
    whole = costs["engine"]
    print(f"{alone:14.0f} {'':6} {'':12}   tokeniser and model in process, batches of 32")
    print(
        f"over in-process: {statistics.median(whole) - alone:.0f} us "
        f"({min(whole) - alone:.0f} to {max(whole) - alone:.0f} in {len(whole)} rounds)"
    )


def _start(variant: str, artifact: str) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(
        [sys.executable, __file__, artifact, "--serve", variant],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise SystemExit(f"the server {variant!r} did not start")
    port = int(line)
    for _ in range(100):
        try:
            with socket.create_connection(("127.0.0.1", port), 1):
                return process, port
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"the server {variant!r} does not listen")


def main() -> None:
    """Measure, or be one of the servers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifact")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", choices=list(VARIANTS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.artifact)
    else:
        measure(options.artifact, options.rounds)


if __name__ == "__main__":
    main()
