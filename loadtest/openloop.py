"""The open loop as part of a Locust test: alone, or split over the workers of a master."""
# mypy: disallow-untyped-calls=False
# (Locust's event hooks carry no types)

import csv
import json
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
from loadtest.generator import HEAD_START_S, Generator
from loadtest.payloads import Payloads
from loadtest.plan import Plan, PlannedStage
from loadtest.recording import Recording, Request
from loadtest.result import OK

WORKERS_HEAD_START_S = 1.0  # for the plan to reach every worker and be prepared there
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

    def __init__(  # noqa: PLR0913 - what Locust's options say
        self,
        environment: Environment,
        make_plan: Callable[[], Plan],
        make_payloads: Callable[[Plan], Payloads],
        headers: dict[str, str],
        *,
        result_file: Path | None = None,
        records: Path | None = None,
    ) -> None:
        """Listen to the environment's events; nothing runs before its test starts.

        Args:
            environment: with a runner: local, master or worker.
            make_plan: called when a test starts, as the web UI may have changed the host.
            make_payloads: called in each process that sends.
            headers: of every request.
            result_file: where the recording of the whole test is written as JSON.
            records: where this process writes a CSV row for each of its requests.
        """
        self.finished = Event()
        assert environment.runner is not None  # noqa: S101 - `init` fires with one
        self._environment, self._runner = environment, environment.runner
        self._make_plan, self._make_payloads, self._headers = make_plan, make_payloads, headers
        self._result_file, self._records_file = result_file, records
        self._records: Any = None  # csv writers have no public type
        self._generator: Generator | None = None
        self._merged: Recording | None = None
        self._facts: dict[str, Any] = {}
        self._waiting_for = 0
        self._timeout_s = 0.0
        self.finished.set()
        environment.events.test_stopping.add_listener(self._on_stopping)
        environment.events.cpu_warning.add_listener(self._on_cpu_warning)
        if isinstance(self._runner, WorkerRunner):
            self._runner.register_message("heed_start", self._on_share, concurrent=True)
            self._runner.register_message("heed_stop", self._on_stopping, concurrent=True)
        else:
            environment.events.test_start.add_listener(self._on_start)
        if isinstance(self._runner, MasterRunner):
            self._runner.register_message("heed_done", self._on_done)

    def _on_start(self, **_: object) -> None:
        plan = self._make_plan()
        self.finished.clear()
        self._timeout_s = plan.workload.timeout_s
        self._merged = Recording(plan)
        self._facts = {
            "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "cpu_warning": False,
            "processes": [],
        }
        if not isinstance(self._runner, MasterRunner):
            self._waiting_for = 1
            gevent.spawn(self._generate, plan, (0, 1), self._collect)
            return
        workers = [client.id for client in self._runner.clients.ready]
        self._waiting_for = len(workers)
        for worker, client_id in enumerate(workers):
            share = {"plan": plan.to_json(), "worker": worker, "workers": len(workers)}
            self._runner.send_message("heed_start", share, client_id)

    def _on_share(self, msg: Any, **_: object) -> None:  # noqa: ANN401 - untyped in Locust
        plan = Plan.model_validate_json(msg.data["plan"])
        share = (msg.data["worker"], msg.data["workers"])
        self.finished.clear()
        self._timeout_s = plan.workload.timeout_s
        self._generate(plan, share, self._send_done)

    def _send_done(self, done: dict[str, Any]) -> None:
        # Locust's own counts first: the master quits with the last `heed_done`.
        self._runner._send_stats()  # type: ignore[attr-defined]
        self._runner.send_message("heed_done", done)

    def _generate(
        self, plan: Plan, share: tuple[int, int], done: Callable[[dict[str, Any]], None]
    ) -> None:
        payloads = self._make_payloads(plan)
        generator = Generator(plan, payloads, self._headers, self._report, share)
        self._generator = generator
        with ExitStack() as stack:
            if self._records_file:
                file = stack.enter_context(
                    self._records_file.open("w", newline="", encoding="utf-8")
                )
                self._records = csv.writer(file)
                self._records.writerow(RECORD_FIELDS)
            generator.run(HEAD_START_S if share[1] == 1 else WORKERS_HEAD_START_S)
        self.finished.set()
        done(
            {
                "stages": generator.recording.to_dict(),
                "began": generator.began,
                "elapsed_s": generator.elapsed_s,
                "cpu_ratio": generator.cpu_ratio,
                "interrupted": generator.stopped,
            }
        )

    def _on_done(self, msg: Any, **_: object) -> None:  # noqa: ANN401 - untyped in Locust
        self._collect(msg.data)

    def _collect(self, done: dict[str, Any]) -> None:
        """Merge what one process counted; after the last one write all of it and end the test."""
        if self._merged is None:
            return
        self._merged.merge(done.pop("stages"))
        self._facts["processes"].append(done)
        if len(self._facts["processes"]) < self._waiting_for:
            return
        self.finished.set()
        if self._result_file:
            whole = {**self._facts, "stages": self._merged.to_dict()}
            self._result_file.write_text(json.dumps(whole), encoding="utf-8")
        if self._environment.web_ui:
            self._runner.stop()
        else:
            self._runner.quit()

    def _on_stopping(self, **_: object) -> None:
        """Stop sending and wait for the last answers, at most as long as a request may take."""
        if isinstance(self._runner, MasterRunner):
            self._runner.send_message("heed_stop")
        if self._generator:
            self._generator.stop()
        self.finished.wait(self._timeout_s + 1)

    def _on_cpu_warning(self, **_: object) -> None:
        self._facts["cpu_warning"] = True

    def _report(self, stage: PlannedStage, request: Request, answer: Answer) -> None:
        """Tell Locust, with the latency from scheduled, and write the record."""
        kind = request.kind if stage.measured else f"{request.kind} ({stage.name})"
        self._environment.events.request.fire(
            request_type="POST",
            name=f"open loop, {kind}",
            response_time=(request.end_s - request.due_s) * 1000,
            response_length=answer.size,
            exception=None if answer.outcome == OK else NotAnsweredError(answer.outcome),
            context={"outcome": answer.outcome, "model_version": answer.version},
        )
        if self._records:
            moments = (request.due_s, request.sent_s, request.first_byte_s, request.end_s)
            since_start = (f"{moment + stage.start_s:.6f}" for moment in moments)
            texts = (stage.scenario, stage.name, request.kind, request.texts, answer.outcome)
            self._records.writerow([*since_start, *texts, answer.version or ""])
