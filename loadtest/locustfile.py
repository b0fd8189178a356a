"""Locust users who post one text after another to /v1/classify, as fast as the answers come.

Example: locust -f loadtest/locustfile.py --host http://127.0.0.1:8000
"""
# mypy: disallow-untyped-decorators=False
# (Locust's event hooks carry no types)

import functools
import itertools
import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import gevent
from locust import FastHttpUser, events, task
from locust.exception import RescheduleTaskImmediately

try:
    from loadtest.samples import OK, Samples
    from loadtest.texts import BUILT_IN, TextsError, read_texts
except ModuleNotFoundError:  # not installed: Locust has put this file's folder on sys.path
    from samples import OK, Samples  # type: ignore[import-not-found, no-redef]
    from texts import BUILT_IN, TextsError, read_texts  # type: ignore[import-not-found, no-redef]


class Classify(FastHttpUser):
    """Sends a text, reads the whole answer, sends the next: a closed workload on one connection."""

    network_timeout = connection_timeout = 30.0  # seconds
    insecure = False  # an API key goes only to a host whose certificate holds

    bodies: ClassVar[Iterator[str]]
    headers: ClassVar[dict[str, str]]
    samples: ClassVar[Samples]
    result_file: ClassVar[str | None] = None
    began: ClassVar[float]

    @task
    def classify(self) -> None:
        """One request and its sample; cut off by the end of the run, it counts as unfinished."""
        outcome, end = "unfinished", None
        start = time.perf_counter()
        try:
            with self.client.post(
                "/v1/classify",
                data=next(self.bodies),
                headers=self.headers,
                catch_response=True,
                allow_redirects=False,
            ) as response:
                end = time.perf_counter()
                outcome = outcome_of(response)
                if outcome != OK:
                    response.failure(outcome)
        finally:
            if self.result_file:
                latency_s = (end or time.perf_counter()) - start
                self.samples.add(start - self.began, latency_s, outcome)
        # Skips Locust's wait: a user stopped in it, even for 0 s, dies with its next request sent.
        raise RescheduleTaskImmediately


def outcome_of(response: Any) -> str:  # noqa: ANN401 - Locust's response has no public type
    """`ok`, or the failure's short name, which never quotes the text sent."""
    if response.status_code not in (0, 200):
        return f"status {response.status_code}"
    if error := response.request_meta["exception"]:
        return type(error).__name__
    try:
        results = json.loads(response.content)["results"]
    except (ValueError, KeyError, TypeError):
        return "no results in the answer"
    return OK if isinstance(results, list) and len(results) == 1 else "not one result"


@events.init_command_line_parser.add_listener
def add_options(parser: Any, **_: object) -> None:  # noqa: ANN401 - Locust's own parser class
    """Options beside Locust's own; the key may come from the environment, where `ps` shows none."""
    add = functools.partial(parser.add_argument, include_in_web_ui=False)
    add("--texts", default=str(BUILT_IN), help="texts to send: .txt, .csv or .jsonl, also .gz")
    add("--api-key", default="", env_var="HEED_API_KEY", help="sent as a bearer token")
    add("--result-file", help="save every latency here; without workers only")


@events.init.add_listener
def prepare(environment: Any, **_: object) -> None:  # noqa: ANN401 - untyped in Locust's events
    """Read the options once, before any clock runs. A bad texts file ends Locust."""
    options = environment.parsed_options
    try:
        texts = read_texts(Path(options.texts))
    except TextsError as error:
        sys.exit(f"Error: {error}")
    Classify.bodies = itertools.cycle([json.dumps({"inputs": text}) for text in texts])
    Classify.headers = {"Content-Type": "application/json"}
    if options.api_key:
        Classify.headers["Authorization"] = f"Bearer {options.api_key}"
    Classify.result_file = options.result_file
    gevent.get_hub().loop.update_now()  # --run-time counts from gevent's clock, stale by now


@events.test_start.add_listener
def begin(**_: object) -> None:
    """Start a run's samples and its clock."""
    Classify.samples = Samples(started_at=datetime.now(UTC).isoformat(timespec="seconds"))
    Classify.began = time.perf_counter()


@events.cpu_warning.add_listener
def note_cpu_warning(**_: object) -> None:
    """Remember that latencies may hold the generator's own delay."""
    Classify.samples.cpu_warning = True


@events.test_stopping.add_listener
def note_stop(**_: object) -> None:
    """Remember when the load ended; requests in flight still finish."""
    Classify.samples.stopped_s = time.perf_counter() - Classify.began


@events.quit.add_listener
def save(**_: object) -> None:
    """Write the samples once every user has stopped."""
    if Classify.result_file:
        Classify.samples.write(Path(Classify.result_file))
