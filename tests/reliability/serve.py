"""The service in a process of its own, with what a test needs to disturb it and to look inside.

Started by `server.py`, with one JSON argument (`Options`); the settings come from the environment.
Commands arrive as JSON lines on an inherited socket, and each is answered by one line.
"""

import asyncio
import gc
import json
import resource
import socket
import sys
import threading
from dataclasses import asdict, dataclass

import prometheus_client

from service.runtime.artifact import read_artifact
from service.runtime.tokenizer import Tokenizer
from service.runtime.versions import find_versions
from service.server import run
from service.settings import Settings
from tests.reliability.engine import Curve, CurveEngine

POISON = "zzz poison zzz"


@dataclass(frozen=True)
class Options:
    """What is not a setting.

    Attributes:
        control: number of the inherited socket.
        curve: of the engine that stands in for the real one; None is the real one.
        nofile: limit of open files; 0 leaves it.
        metrics: False makes every instrument do nothing.
        trace: remember what each batch was expected to take.
    """

    control: int
    curve: dict[str, float] | None = None
    nofile: int = 0
    metrics: bool = True
    trace: bool = False

    def to_json(self) -> str:
        """What `main` reads."""
        return json.dumps(asdict(self))


class Control:
    """Obeys commands on a thread."""

    def __init__(self, channel: socket.socket, engine: CurveEngine | None) -> None:
        self._channel, self._engine = channel, engine
        self.batches: list[tuple[int, float, float, float]] = []

    def obey(self) -> None:
        """Answer each line until the other side closes."""
        with self._channel.makefile("rw", encoding="utf-8") as lines:
            for line in lines:
                command = json.loads(line)
                lines.write(json.dumps(getattr(self, command.pop("do"))(**command)) + "\n")
                lines.flush()

    def scale(self, factor: float) -> None:
        """Make the engine slower by a factor of its curve."""
        self._fake.scale = factor

    def block(self) -> None:
        """Let the engine stand still with its next batch."""
        self._fake.open.clear()

    def unblock(self) -> None:
        """Let it go on."""
        self._fake.open.set()

    def fail(self, how: str) -> None:
        """Let the engine fail on batches with the poison: raise, nan, shape; none is health."""
        self._fake.failure = how  # type: ignore[assignment]

    def rows(self) -> int:
        """Texts that the engine was given."""
        return self._fake.rows

    def tasks(self) -> int:
        """Unfinished asyncio tasks of the process."""
        gc.collect()
        tasks = (each for each in gc.get_objects() if isinstance(each, asyncio.Task))
        return sum(not task.done() for task in tasks)

    def traced(self) -> list[tuple[int, float, float, float]]:
        """Padded tokens, expected, upper and measured seconds of each batch so far."""
        return self.batches

    @property
    def _fake(self) -> CurveEngine:
        assert self._engine is not None, "the real engine takes no commands"
        return self._engine


def main() -> None:
    """Serve until a signal."""
    options = Options(**json.loads(sys.argv[1]))
    settings = Settings()
    if options.nofile:
        resource.setrlimit(resource.RLIMIT_NOFILE, (options.nofile, options.nofile))
    engine = _make_engine(options, settings)
    control = Control(socket.socket(fileno=options.control), engine)
    if options.trace:
        _trace(control.batches)
    if not options.metrics:
        _silence()
    threading.Thread(target=control.obey, daemon=True).start()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((settings.host, settings.port))
    sys.exit(run(settings, listener, engine))


def _make_engine(options: Options, settings: Settings) -> CurveEngine | None:
    if options.curve is None:
        return None
    artifact = read_artifact(find_versions(settings.model).path())
    tokenizer = Tokenizer(artifact.tokenizer, artifact.manifest.max_length)
    poison = tokenizer.encode(POISON).input_ids
    return CurveEngine(Curve(**options.curve), len(artifact.manifest.labels), poison)


def _trace(batches: list[tuple[int, float, float, float]]) -> None:
    from service.service_time import ServiceTime

    observe = ServiceTime.observe

    def remember(self: ServiceTime, padded_tokens: int, seconds: float) -> None:
        expected_s = self.predict(padded_tokens)
        if expected_s > 0.0:
            upper_s = expected_s * self.upper_ratio
            batches.append((padded_tokens, expected_s, upper_s, seconds))
        observe(self, padded_tokens, seconds)

    ServiceTime.observe = remember  # type: ignore[method-assign]


def _silence() -> None:
    """Instruments that do nothing, to know what those that do something cost."""

    def nothing(*_: object, **__: object) -> None: ...

    for kind, methods in (
        (prometheus_client.Counter, ("inc",)),
        (prometheus_client.Gauge, ("inc", "dec", "set")),
        (prometheus_client.Histogram, ("observe",)),
    ):
        for method in methods:
            setattr(kind, method, nothing)


if __name__ == "__main__":
    main()
