"""Locust users for a Heed service: closed workloads as Locust knows them, and an open loop.

Closed, with web UI: locust -f loadtest/locustfile.py --host http://127.0.0.1:8000
One kind of request: locust -f loadtest/locustfile.py --host ... Batch   (or --tags batch)
Open loop: locust -f loadtest/locustfile.py --host ... --headless --workload steady --rate 200
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
from locust import FastHttpUser, User, events, tag, task
from locust.exception import RescheduleTaskImmediately, StopUser

sys.path.insert(0, str(Path(__file__).parents[1]))  # not installed: `loadtest` lies beside

from loadtest.connections import detail_of, judge_answer
from loadtest.durations import DurationError, parse_duration
from loadtest.openloop import OpenLoopRun
from loadtest.payloads import Payload, Payloads
from loadtest.plan import Plan, open_plan
from loadtest.recording import Recording, Request
from loadtest.result import OK, TIMEOUT
from loadtest.target import TargetError, base_url
from loadtest.texts import TextsError
from loadtest.workload import Mix, Texts, Workload, WorkloadError, load_workload


class _Closed(FastHttpUser):
    """A closed workload: sends a request, reads the whole answer, sends the next."""

    abstract = True
    insecure = False  # an API key goes only to a host whose certificate holds

    def __init__(self, environment: Any) -> None:  # noqa: ANN401 - Locust's own class
        """A user of the host as `base_url` has it: the web UI may have been given another."""
        if self.host:
            self.host = base_url(self.host)
        super().__init__(environment)

    payloads: ClassVar[dict[str, Iterator[Payload]]]  # by kind, endless
    headers: ClassVar[dict[str, str]]
    recording: ClassVar[Recording | None] = None
    result_file: ClassVar[Path | None] = None
    cpu_warning: ClassVar = False
    began: ClassVar[float]
    started_at: ClassVar[str]
    cpu_s: ClassVar[float]
    elapsed_s: ClassVar[float] = 0.0

    def send(self, kind: str) -> None:
        """One request and its record; cut off by the end of the run, it is `unfinished`."""
        payload = next(self.payloads[kind])
        outcome, detail, end, sent = "unfinished", "", None, time.monotonic()
        try:
            with self.client.post(
                payload.path,
                name=f"{payload.path} {kind}",
                data=payload.body.decode(),
                headers=self.headers | payload.headers,
                catch_response=True,
                allow_redirects=False,
            ) as response:
                end = time.monotonic()
                outcome, version = outcome_of(response, payload.texts)
                context = {"outcome": outcome, "model_version": version}
                response.request_meta["context"] = context
                if outcome != OK:
                    detail = detail_of(response.content or b"")
                    response.failure(outcome)
        finally:
            self._record(payload, (sent, end or time.monotonic()), outcome, detail)
        # Skips Locust's wait: a user stopped in it, even for 0 s, dies with its next request sent.
        raise RescheduleTaskImmediately

    def _record(
        self, payload: Payload, moments: tuple[float, float], outcome: str, detail: str
    ) -> None:
        if self.recording is None:
            return
        sent, end = moments
        at_s = sent - self.began
        stages = self.recording.stages
        tally = next((s for s in stages if at_s < s.planned.end_s), stages[-1])
        sent_s, end_s = at_s - tally.planned.start_s, end - self.began - tally.planned.start_s
        request = Request(payload.kind, payload.texts, sent_s, sent_s, end_s, end_s, outcome)
        request.detail = detail
        tally.add(request)


class Single(_Closed):
    """One text in each request."""

    @tag("single")
    @task
    def single(self) -> None:
        """Classify one text."""
        self.send("single")


class Batch(_Closed):
    """Several texts in each request."""

    @tag("batch")
    @task
    def batch(self) -> None:
        """Classify `batch_size` texts."""
        self.send("batch")


class Explain(_Closed):
    """One text, and what the answer rests on."""

    @tag("explain")
    @task
    def explain(self) -> None:
        """Classify and explain one text."""
        self.send("explain")


class Mixed(_Closed):
    """All three kinds, by the shares of the workload."""

    tasks = [Single.single, Batch.batch, Explain.explain]  # noqa: RUF012 - replaced, not changed


class OpenLoop(User):
    """Stands for the open loop in Locust's counts: requests come from the schedule, not users."""

    @task
    def wait(self) -> None:
        """Until the schedule has been sent and answered."""
        self.environment.open_loop.finished.wait()
        raise StopUser


def outcome_of(response: Any, texts: int) -> tuple[str, str | None]:  # noqa: ANN401 - Locust's response has no public type
    """As `judge_answer`, from Locust's own response."""
    if response.status_code == 0 and (error := response.request_meta["exception"]):
        return TIMEOUT if isinstance(error, TimeoutError) else type(error).__name__, None
    return judge_answer(response.status_code, response.content or b"", texts)


@events.init_command_line_parser.add_listener
def add_options(parser: Any, **_: object) -> None:  # noqa: ANN401 - Locust's own parser class
    """Options beside Locust's own; the key may come from the environment, where `ps` shows none."""
    add = functools.partial(parser.add_argument, include_in_web_ui=False)
    add("--api-key", default="", env_var="HEED_API_KEY", help="sent as a bearer token")
    add("--texts", type=Path, help="texts to send, in any format that heed predict reads")
    add("--workload", help="open loop: a shipped workload (steady, ...) or a .toml file")
    add("--rate", type=float, help="open loop: requests/s of a workload of one stage")
    add("--duration", help="open loop: its length, e.g. 30s")
    add("--records", type=Path, help="a CSV row for each request; without workers only")
    add("--plan", type=Path, help="what `heed` hands over: a plan as JSON")
    add("--result-file", type=Path, help="the counts and histograms as JSON")


@events.init.add_listener
def prepare(environment: Any, **_: object) -> None:  # noqa: ANN401 - untyped in Locust's events
    """Read the options once, before any clock runs. Bad ones end Locust with one line."""
    options = environment.parsed_options
    headers = {"Authorization": f"Bearer {options.api_key}"} if options.api_key else {}
    try:
        plan = Plan.model_validate_json(options.plan.read_bytes()) if options.plan else None
        workload = plan.workload if plan else workload_from(options)
        assert workload.text_pool  # noqa: S101 - reads the texts: now, and not under load
        if options.workload and options.headless and not (options.host or options.worker):
            sys.exit("Error: an open loop needs --host")
        if environment.host:
            environment.host = base_url(environment.host)
        if options.workload or (plan and plan.arrivals != "closed"):
            environment.user_classes = [OpenLoop]
            environment.open_loop = OpenLoopRun(
                environment,
                lambda: plan or open_plan([base_url(environment.host)], workload),
                headers,
                result_file=options.result_file,
                records=options.records,
            )
        else:
            prepare_closed(environment, workload, plan, headers)
    except (TargetError, TextsError, WorkloadError, DurationError, OSError) as error:
        sys.exit(f"Error: {error}")
    gevent.get_hub().loop.update_now()  # --run-time counts from gevent's clock, stale by now


def workload_from(options: Any) -> Workload:  # noqa: ANN401 - Locust's own class
    """The workload that the options name, `mixed` when they name none."""
    workload = load_workload(options.workload or "mixed")
    if options.texts:
        texts = Texts(file=options.texts.resolve())
        workload = workload.model_copy(update={"texts": texts})
    if options.rate or options.duration:
        first = workload.stages[0]
        duration_s = parse_duration(options.duration) if options.duration else first.duration_s
        workload = workload.with_rate(options.rate or first.rate, duration_s)
    return workload


def prepare_closed(
    environment: Any,  # noqa: ANN401
    workload: Workload,
    plan: Plan | None,
    headers: dict[str, str],
) -> None:
    """Texts, headers and the recording of the closed users."""
    named = [cls for cls in environment.user_classes if cls is not OpenLoop]
    environment.user_classes = [Mixed] if Mixed in named else named
    shares = (workload.mix.single, workload.mix.batch, workload.mix.explain)
    tasks = (Single.single, Batch.batch, Explain.explain)
    Mixed.tasks = [
        task for task, share in zip(tasks, shares, strict=True) for _ in range(round(100 * share))
    ]
    _Closed.payloads = {kind: bodies(workload, kind) for kind in ("single", "batch", "explain")}
    plain = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
    _Closed.headers = plain | headers
    _Closed.network_timeout = _Closed.connection_timeout = workload.timeout_s
    if plan:
        _Closed.recording = Recording(plan)
        _Closed.result_file = environment.parsed_options.result_file


def bodies(workload: Workload, kind: str) -> Iterator[Payload]:
    """Endless payloads of one kind."""
    mix = Mix.model_validate({kind: 1.0, "batch_size": workload.mix.batch_size})
    payloads = Payloads(workload.model_copy(update={"mix": mix}), workload.text_pool)
    return map(payloads.__getitem__, itertools.count())


@events.test_start.add_listener
def begin(**_: object) -> None:
    """Start the clock of a closed run."""
    _Closed.began = time.monotonic()
    _Closed.started_at = datetime.now(UTC).isoformat(timespec="seconds")
    _Closed.cpu_s = time.process_time()


@events.cpu_warning.add_listener
def note_cpu_warning(**_: object) -> None:
    """Remember that latencies may hold the generator's own delay."""
    _Closed.cpu_warning = True


@events.test_stopping.add_listener
def note_stop(**_: object) -> None:
    """Remember when the load ended; requests in flight still finish."""
    if hasattr(_Closed, "began"):
        _Closed.elapsed_s = time.monotonic() - _Closed.began


@events.quit.add_listener
def save(**_: object) -> None:
    """Write what closed users recorded, once every user has stopped."""
    if _Closed.recording is None or not _Closed.result_file:
        return
    process = {
        "began": _Closed.began,
        "elapsed_s": _Closed.elapsed_s,
        "cpu_ratio": (time.process_time() - _Closed.cpu_s) / max(_Closed.elapsed_s, 1e-3),
        "cpu_warning": _Closed.cpu_warning,
        "realtime": False,
        "interrupted": False,
    }
    whole = {
        "started_at": _Closed.started_at,
        "processes": [process],
        "stages": _Closed.recording.to_dict(),
    }
    _Closed.result_file.write_text(json.dumps(whole), encoding="utf-8")
