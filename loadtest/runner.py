"""Runs Locust in a process of its own, so that gevent's patches stay out of this one."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from loadtest.result import Generator, Plan, Result, summarise
from loadtest.samples import Samples
from loadtest.target import Target
from loadtest.texts import BUILT_IN, read_texts

DRAIN_S = 10  # a request without an answer this long after the end of the load is unfinished
POLL_S = 0.1


class RunError(Exception):
    """Locust itself failed; the message is its last line."""


def run_loadtest(  # noqa: PLR0913 - one per thing to choose, two needed
    url: str,
    users: int = 8,
    duration_s: int = 30,
    texts: Path | None = None,
    *,
    api_key: str | None = None,
    warm_up_s: int = 2,
    on_progress: Callable[[float], None] = lambda _: None,
) -> Result:
    """Load a service with a closed workload and measure it. Blocks for the whole run.

    Args:
        url: base address of the service.
        users: how many send at the same time, each one request after another.
        duration_s: measured seconds, whole.
        texts: what to send, see `read_texts`; the built-in customer messages when None.
        api_key: bearer token for the service.
        warm_up_s: seconds of load before the measured ones, whole.
        on_progress: called about ten times a second with the seconds since the start.

    Raises:
        TargetError: the service is not there or not ready.
        TextsError: the texts cannot be read.
        RunError: Locust failed.
        KeyboardInterrupt: Ctrl-C before the load began; later it only ends the run early.
    """
    target = Target(url, api_key)
    num_texts = len(read_texts(texts or BUILT_IN))
    target.require_ready()
    source = texts.name if texts else "built-in"
    plan = Plan(target.url, users, duration_s, warm_up_s, source, num_texts)
    models = target.models()
    with TemporaryDirectory(prefix="heed-loadtest-") as folder:
        command = _command(plan, (texts or BUILT_IN).resolve())
        interrupted = _run(command, Path(folder), api_key, on_progress)
        samples = _collect(Path(folder), interrupted)
    generator = Generator(version("locust"), os.cpu_count() or 1, samples.cpu_warning)
    return summarise(samples, plan, models, generator, interrupted)


def _command(plan: Plan, texts: Path) -> list[str]:
    locustfile = Path(__file__).with_name("locustfile.py")
    run_time_s = plan.warm_up_s + plan.duration_s
    return [
        *(sys.executable, "-m", "locust", "-f", str(locustfile), "--headless", "--only-summary"),
        *("--host", plan.url, "--texts", str(texts), "--result-file", "samples.csv"),
        *("--users", str(plan.users), "--spawn-rate", str(plan.users)),
        *("--run-time", f"{run_time_s}s", "--stop-timeout", str(DRAIN_S)),
        *("--exit-code-on-error", "0", "--loglevel", "ERROR"),
    ]


def _run(
    command: list[str], folder: Path, api_key: str | None, on_progress: Callable[[float], None]
) -> bool:
    """Run Locust in `folder`; returns whether Ctrl-C ended it early."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LOCUST_")}
    environment["HEED_API_KEY"] = api_key or ""
    began = time.monotonic()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C comes to us alone; we pass it on, once
        )
        try:
            while process.poll() is None:
                on_progress(time.monotonic() - began)
                time.sleep(POLL_S)
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            return True
        finally:
            process.kill()
            process.wait()
    return False


def _collect(folder: Path, interrupted: bool) -> Samples:
    try:
        return Samples.read(folder / "samples.csv")
    except (OSError, ValueError, StopIteration):
        if interrupted:
            raise KeyboardInterrupt from None
        log = (folder / "log").read_text(encoding="utf-8", errors="replace")
        last_line = log.strip().rpartition("\n")[2] or "it said nothing"
        raise RunError(f"Locust failed: {last_line}") from None
