"""The open loop as part of a Locust test: alone, or split over the workers of a master."""
# mypy: disallow-untyped-calls=False
# (Locust's event hooks carry no types)

import csv
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from loadtest.connections import Answer
from loadtest.generator import Generator
from loadtest.payloads import Payloads
from loadtest.plan import Plan, PlannedStage
from loadtest.recording import Recording, Request
from loadtest.result import DROPPED, OK
from service.runtime.safe import safe

RECORD_FIELDS = (
    *("scheduled_s", "sent_s", "first_byte_s", "end_s"),
    *("scenario", "stage", "kind", "texts", "outcome", "model_version"),
)


class NotAnsweredError(Exception):
    """What Locust shows for a failure: its outcome."""


class OpenLoopRun:
    """Starts generators when a Locust test starts, and ends the test when they have finished.

    Attributes:
        finished: set when every answer of the test is counted.
    """

    def __init__(
        self,
        environment: Environment,
        make_plan: Callable[[], Plan],
        headers: dict[str, str],
        *,
        result_file: Path | None = None,
        records: Path | None = None,
    ) -> None:
        """Listen to the environment's events; nothing runs before its test starts.

        Args:
            environment: with a runner: local, master or worker.
            make_plan: called when a test starts, as the web UI may have changed the host.
            headers: of every request.
            result_file: where the recording of the whole test is written as JSON.
            records: where this process writes a CSV row for each of its requests.
        """
        self.finished = Event()
        assert environment.runner is not None  # noqa: S101 - `init` fires with one
        self._environment, self._runner = environment, environment.runner
        self._make_plan, self._headers = make_plan, headers
        self._result_file, self._records_file = result_file, records
        self._records: Any = None  # csv writers have no public type
        self._generator: Generator | None = None
        self._merged: Recording | None = None
        self._facts: dict[str, Any] = {}
        self._cpu_warning = False
        self._number = 0  # of the test: what belongs to an earlier one is not mixed into it
        self._workers: list[str] = []
        self._ready = 0
        self._timeout_s = 0.0
        self.finished.set()
        environment.events.test_stopping.add_listener(self._on_stopping)
        environment.events.cpu_warning.add_listener(self._on_cpu_warning)
        listeners: dict[str, Callable[..., None]]
        listeners = {"heed_ready": self._on_ready, "heed_done": self._on_done}
        if isinstance(self._runner, WorkerRunner):
            listeners = {"heed_share": self._on_share, "heed_go": self._on_go}
            listeners["heed_stop"] = self._on_stopping
        else:
            environment.events.test_start.add_listener(self._on_start)
        for name, listener in listeners.items():
            self._runner.register_message(name, listener, concurrent=True)

    def _on_start(self, **_: object) -> None:
        """The test starts, alone or on a master."""
        self.finished.clear()
        self._number += 1
        self._guard(self._start, self._make_plan)

    def _start(self, make_plan: Callable[[], Plan]) -> None:
        plan = make_plan()
        self._merged = Recording(plan)
        self._timeout_s = plan.workload.timeout_s
        self._ready, self._workers = 0, [""]
        self._facts = {
            "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "processes": [],
        }
        if not isinstance(self._runner, MasterRunner):
            gevent.spawn(self._guard, self._run_alone, plan)
            return
        self._workers = [client.id for client in self._runner.clients.ready]
        for worker, client_id in enumerate(self._workers):
            share = {"number": self._number, "plan": plan.to_json(), "worker": worker}
            share["workers"] = len(self._workers)
            self._runner.send_message("heed_share", share, client_id)

    def _run_alone(self, plan: Plan) -> None:
        self._prepare(plan, (0, 1))
        self._collect(self._send())

    def _on_share(self, msg: Any, **_: object) -> None:  # noqa: ANN401 - untyped in Locust
        """A worker prepares its share, and says when it has: all start together."""
        self.finished.clear()
        self._number = msg.data["number"]
        self._guard(self._take_share, msg.data)

    def _take_share(self, share: dict[str, Any]) -> None:
        plan = Plan.model_validate_json(share["plan"])
        self._timeout_s = plan.workload.timeout_s
        self._prepare(plan, (share["worker"], share["workers"]))
        self._runner.send_message("heed_ready", {"number": self._number})

    def _on_ready(self, msg: Any, **_: object) -> None:  # noqa: ANN401
        self._ready += msg.data["number"] == self._number
        if self._ready == len(self._workers):
            self._runner.send_message("heed_go")

    def _on_go(self, **_: object) -> None:
        self._guard(self._send_share)

    def _send_share(self) -> None:
        done = self._send()
        # Locust's own counts first: the master quits with the last `heed_done`.
        self._runner._send_stats()  # type: ignore[attr-defined]
        self._runner.send_message("heed_done", {"number": self._number, **done})

    def _on_done(self, msg: Any, **_: object) -> None:  # noqa: ANN401
        if msg.data.pop("number") == self._number:
            self._guard(self._collect, msg.data)

    def _prepare(self, plan: Plan, share: tuple[int, int]) -> None:
        payloads = Payloads(plan.workload, plan.workload.text_pool)
        self._generator = Generator(plan, payloads, self._headers, self._report, share)

    def _send(self) -> dict[str, Any]:
        """Run the generator; what it counted, for JSON and for messages."""
        generator = self._generator
        assert generator is not None  # noqa: S101 - prepared before
        with ExitStack() as stack:
            if self._records_file:
                file = self._records_file.open("w", newline="", encoding="utf-8")
                self._records = csv.writer(stack.enter_context(file))
                self._records.writerow(RECORD_FIELDS)
            generator.run()
        self.finished.set()
        return {
            "stages": generator.recording.to_dict(),
            "began": generator.began,
            "elapsed_s": generator.elapsed_s,
            "cpu_ratio": generator.cpu_ratio,
            "cpu_warning": self._cpu_warning,
            "realtime": generator.realtime,
            "interrupted": generator.stopped,
        }

    def _collect(self, done: dict[str, Any]) -> None:
        """Merge what one process counted; after the last one write all of it and end the test."""
        if "error" in done:
            raise RuntimeError(done["error"])
        if self._merged is None:
            return
        self._merged.merge(done.pop("stages"))
        self._facts["processes"].append(done)
        if len(self._facts["processes"]) < len(self._workers):
            return
        self.finished.set()
        if self._result_file:
            whole = {**self._facts, "stages": self._merged.to_dict()}
            self._result_file.write_text(json.dumps(whole), encoding="utf-8")
        # Not in this greenlet: on a master it is the one that `stop` waits for.
        gevent.spawn(self._runner.stop if self._environment.web_ui else self._runner.quit)

    def _guard(self, function: Callable[..., None], *arguments: object) -> None:
        """Whatever goes wrong ends the test, with one line and exit code 1."""
        try:
            function(*arguments)
        except Exception as error:
            self.finished.set()
            line = safe(f"{type(error).__name__}: {error}")
            if isinstance(self._runner, WorkerRunner):
                self._runner.send_message("heed_done", {"number": self._number, "error": line})
                return
            sys.stderr.write(f"Error: {line}\n")
            self._environment.process_exit_code = 1
            gevent.spawn(self._runner.stop if self._environment.web_ui else self._runner.quit)

    def _on_stopping(self, **_: object) -> None:
        """Stop sending and wait for the last answers, at most as long as a request may take."""
        if isinstance(self._runner, MasterRunner):
            self._runner.send_message("heed_stop")
        if self._generator:
            self._generator.stop()
        self.finished.wait(self._timeout_s + 1)

    def _on_cpu_warning(self, **_: object) -> None:
        self._cpu_warning = True

    def _report(self, stage: PlannedStage, request: Request, answer: Answer) -> None:
        """Tell Locust, with the latency from scheduled, and write the record."""
        dropped = request.outcome == DROPPED
        kind = request.kind if stage.measured else f"{request.kind} ({stage.name})"
        self._environment.events.request.fire(
            request_type="POST",
            name=f"open loop, {kind}",
            # A dropped one took no time, and none is what Locust's percentiles shall see.
            response_time=None if dropped else (request.end_s - request.due_s) * 1000,
            response_length=answer.size,
            exception=None if answer.outcome == OK else NotAnsweredError(answer.outcome),
            context={"outcome": answer.outcome, "model_version": answer.version},
        )
        if self._records:
            moments = (request.due_s, request.sent_s, request.first_byte_s, request.end_s)
            since_start = (f"{moment + stage.start_s:.6f}" for moment in moments)
            texts = (stage.scenario, stage.name, request.kind, request.texts, answer.outcome)
            self._records.writerow([*since_start, *texts, answer.version or ""])
