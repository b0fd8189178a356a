"""The open loop: sends each request when it is due, whatever became of the ones before.

Runs inside a Locust process, on gevent. A request that finds no free slot is not waited for: it
is dropped and counted. One that the generator itself is later with than the timeout is dropped
too, as its time is over.
"""

import gc
import os
import time
from collections.abc import Callable, Mapping

from gevent.event import Event
from gevent.pool import Pool

from loadtest.alarm import Alarm
from loadtest.connections import Answer, Connections, slots_for
from loadtest.payloads import Payload, Payloads
from loadtest.plan import Plan, PlannedStage
from loadtest.recording import Recording, Request, StageTally
from loadtest.result import DROPPED
from loadtest.schedule import arrival_times, thinned

HEAD_START_S = 0.2  # between the order to start and the first arrival
OFFSET = 1_000  # payloads between the first of one round and the first of the next

Report = Callable[[PlannedStage, Request, Answer], None]


class Generator:
    """Sends one worker's share of a plan, and counts what comes back.

    Attributes:
        recording: the counts; complete once `finished` is set.
        began: monotonic time of the start of the run.
        elapsed_s: from then until the last request was due, or `stop` was called.
        cpu_ratio: CPU time of this process over the measured part of the run.
        realtime: it takes precedence over ordinary processes.
    """

    def __init__(
        self,
        plan: Plan,
        payloads: Payloads,
        headers: Mapping[str, str],
        report: Report,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        """Prepare; `share` is (worker, workers); `report` is told of every outcome."""
        timeout_s = plan.workload.timeout_s
        self.recording = Recording(plan)
        self.began = self.elapsed_s = 0.0
        self.cpu_ratio = 0.0
        self.finished = Event()
        self.stopped = self.realtime = False
        self._alarm = Alarm()
        self._plan, self._payloads, self._report, self._share = plan, payloads, report, share
        self._slots = Pool(slots_for(plan.peak_rps / share[1], timeout_s))
        self._connections = [Connections(url, headers, timeout_s) for url in plan.targets]

    def run(self) -> None:
        """Send the whole schedule, wait for the last answers. Blocks its greenlet."""
        self.realtime = take_precedence(self._share[1])
        gc.collect()
        gc.freeze()  # modules and payloads are not walked through again
        self.began = time.monotonic() + HEAD_START_S
        first = next(stage for stage in self._plan.stages if stage.measured)
        cpu_s = 0.0
        for stage, tally in zip(self._plan.stages, self.recording.stages, strict=True):
            if stage is first:
                self._sleep_until(self.began + stage.start_s)
                cpu_s = time.process_time()
            self._send(stage, tally)
        self.elapsed_s = time.monotonic() - self.began
        measured_s = max(self.elapsed_s - first.start_s, 1e-3)
        self.cpu_ratio = (time.process_time() - cpu_s) / measured_s
        self._alarm.close()
        self._slots.join()
        self.finished.set()

    def stop(self) -> None:
        """Send no more; what is in flight still gets its outcome."""
        self.stopped = True

    def _send(self, stage: PlannedStage, tally: StageTally) -> None:
        begin, timeout_s = self.began + stage.start_s, self._plan.workload.timeout_s
        times = arrival_times(
            self._plan.workload.arrivals,
            stage.rate_rps or 0.0,
            stage.end_rate_rps or 0.0,
            stage.duration_s,
            stage.seed,
        )
        for index, due_s in thinned(times, *self._share):
            self._sleep_until(begin + due_s)
            if self.stopped:
                return
            tally.due += 1
            payload = self._payloads[index + OFFSET * stage.round]
            if self._slots.full() or time.monotonic() - begin - due_s > timeout_s:
                answer = Answer(DROPPED, begin + due_s)
                self._finish(stage, tally, payload, due_s, begin + due_s, answer)
            else:
                self._slots.spawn(self._exchange, stage, tally, payload, due_s)

    def _sleep_until(self, moment: float) -> None:
        while not self.stopped and time.monotonic() < moment:
            self._alarm.sleep_towards(moment)

    def _exchange(
        self, stage: PlannedStage, tally: StageTally, payload: Payload, due_s: float
    ) -> None:
        connections = self._connections[stage.target]
        until = self.began + stage.start_s + due_s + self._plan.workload.timeout_s
        sent = time.monotonic()
        answer = connections.post(payload, until)
        self._finish(stage, tally, payload, due_s, sent, answer)

    def _finish(  # noqa: PLR0913, PLR0917 - all that is known of a request
        self,
        stage: PlannedStage,
        tally: StageTally,
        payload: Payload,
        due_s: float,
        sent: float,
        answer: Answer,
    ) -> None:
        begin = self.began + stage.start_s
        request = Request(
            kind=payload.kind,
            texts=payload.texts,
            due_s=due_s,
            sent_s=sent - begin,
            first_byte_s=(answer.first_byte or answer.end) - begin,
            end_s=answer.end - begin,
            outcome=answer.outcome,
            detail=answer.detail,
        )
        tally.add(request)
        self._report(stage, request, answer)


def take_precedence(processes: int) -> bool:
    """Run before ordinary processes when there is something to send; returns whether allowed to.

    It takes root or CAP_SYS_NICE. A service on the same cores would otherwise delay the requests
    that it is measured by: at 1,000 requests/s on two cores, three runs each, the lag's p99 was
    2.4 to 4.1 ms without and 0.5 to 1.0 ms with it (once 4.2). One core is left to the service.
    """
    if not hasattr(os, "sched_setscheduler") or len(os.sched_getaffinity(0)) <= processes:
        return False
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except OSError:
        return False
    return True
