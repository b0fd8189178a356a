"""What the measurements stand on: the engine, the clients, a real process, the arithmetic."""

import asyncio
import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from service.runtime.engine import EngineError
from tests.reliability import bound, files, service_times, swap
from tests.reliability.__main__ import plan
from tests.reliability.clients import Client, classify, exchange
from tests.reliability.engine import TOKENS, Curve, CurveEngine
from tests.reliability.lab import Lab
from tests.reliability.ladder import Gauges
from tests.reliability.load import (
    Loaded,
    Sent,
    answered_p99_s,
    longest_gap_s,
    on_time,
    workload,
)
from tests.reliability.machine import Watch, split_cores, watched
from tests.reliability.probes import Probe, Probes
from tests.reliability.promises import MEASUREMENTS
from tests.reliability.serve import POISON
from tests.reliability.server import Server, Usage, running
from tests.reliability.slow import _files_back_s


def sent(due_s: float, end_s: float, outcome: str = "ok") -> Sent:
    """A request that was sent when it was due."""
    return Sent("s", "single", due_s, due_s, end_s, outcome)


def test_capacity_follows_from_the_curve() -> None:
    """Eight texts in 48 ms."""
    curve = Curve(0.016, 0.004, 8)
    assert curve.full_s == pytest.approx(0.048)
    assert curve.capacity_rps == pytest.approx(166.7, abs=0.1)


def test_engine_takes_as_long_as_its_curve_says() -> None:
    """By padded tokens, as a real one."""
    engine = CurveEngine(Curve(0.002, 0.001, 8), 3, [7, 8])
    ids = np.ones((4, TOKENS), dtype=np.int64)
    began = time.monotonic()
    output = engine.run(ids, ids)
    assert 0.006 <= time.monotonic() - began < 0.1
    assert output.logits.shape == (4, 3)
    assert output.attention.sum() == pytest.approx(4.0)
    assert [tokens for tokens, _ in engine.warm_up(8, 256)] == [TOKENS, 8 * TOKENS]
    assert engine.rows == 4 + 1 + 8


@pytest.mark.parametrize("how", ["raise", "nan", "shape"])
def test_engine_fails_with_the_poison_alone(how: str) -> None:
    """Each way that a model can fail."""
    engine = CurveEngine(Curve(0.0, 0.0), 3, [7, 8])
    engine.failure = how  # type: ignore[assignment]
    sound = np.ones((2, 4), dtype=np.int64)
    poisoned = sound.copy()
    poisoned[1, :2] = 7, 8
    assert np.isfinite(engine.run(sound, sound).logits).all()
    if how == "raise":
        with pytest.raises(EngineError):
            engine.run(poisoned, sound)
        return
    logits = engine.run(poisoned, sound).logits
    assert logits.shape == ((2, 2) if how == "shape" else (2, 3))
    assert np.isnan(logits).any() == (how == "nan")


def test_only_proper_answers_in_time_are_good() -> None:
    """Counted from when they were due."""
    requests = [sent(0, 0.2), sent(0, 0.3), sent(0, 0.001, "status 503")]
    assert on_time(requests, 0.25) == 1
    assert answered_p99_s(requests) == pytest.approx(0.3)
    assert longest_gap_s([1.0, 5.0, 2.0]) == 3.0


def test_workload_has_texts_that_fill_the_tiny_artifact(tmp_path: Path) -> None:
    """So every one takes the engine as long."""
    from service.runtime.tokenizer import Tokenizer

    load = workload({"a": (10.0, 1.0), "b": (20.0, 1.0)})
    tokenizer = (Lab(tmp_path, tmp_path).tiny / "tokenizer.model").read_bytes()
    lengths = {len(Tokenizer(tokenizer, TOKENS).encode(text).input_ids) for text in load.text_pool}
    assert lengths == {TOKENS}
    assert [stage.rate for stage in load.stages] == [10.0, 20.0]


def test_bound_is_what_can_be_computed_in_time() -> None:
    """C (D - s), for the engine as it is and ten times slower."""
    assert (bound.expected_limit(1.0), bound.expected_limit(10.0)) == (326, 26)


def test_bound_settles_when_it_stays_near() -> None:
    """Not when it passes by."""
    changes = bound.Changes(None, {})  # type: ignore[arg-type]
    changes.seen = [(0, 100), (1, 20), (2, 60), (3, 24), (4, 23), (5, 60)]
    assert changes.settled_s(0.5, 5, 22) == pytest.approx(1.5)
    assert changes.settled_s(0.5, 6, 22) == float("inf")
    assert changes.at(2.5) == 60


def test_files_are_back_when_the_last_connection_is_closed() -> None:
    """And never if they are still open at the end."""
    gauges = Gauges(None)  # type: ignore[arg-type]
    files = [(10, 30), (15, 500), (20, 480), (25, 45), (30, 40)]
    gauges.seen = [(float(at), Usage(0.0, 0, count, 1)) for at, count in files]
    assert _files_back_s(gauges, 10.0, 30) == 10.0
    assert _files_back_s(gauges, 10.0, 10) == float("inf")


def test_descriptors_that_never_ran_out_prove_nothing() -> None:
    """Exhaustion is measured, not supposed; whoever was served must be served again."""
    outcomes = Counter({"200": 46, "closed": 154})
    seen = files.Seen(outcomes, 64, 46, 0.0, 0.01)
    expected = {"200", "closed"}

    def verdict(**changes: object) -> str:
        return files._judge("x", seen._replace(**changes), expected, 63, ()).verdict

    assert verdict() == "met"
    assert verdict(files=33) == "inconclusive"
    assert verdict(kept=45) == "not met"
    assert verdict(outcomes=outcomes + Counter({"silent": 1})) == "not met"


def test_swaps_are_compared_with_as_long_a_time_just_before() -> None:
    """Not with all the rest, of which most is far away."""
    swaps = swap.Swaps(None, 0, Path(), Path())  # type: ignore[arg-type]
    swaps.windows = [(10.0, 10.2)]
    due_s = [0.01 * number + 0.005 for number in range(2000)]
    took_s = [0.03 if 10.0 <= at_s < 10.1 or at_s < 5.0 else 0.01 for at_s in due_s]
    requests = [
        Sent("all", "single", at_s, at_s, at_s + seconds, "ok")
        for at_s, seconds in zip(due_s, took_s, strict=True)
    ]
    no_stages = SimpleNamespace(stages=[])
    loaded = Loaded(no_stages, requests, {"all": 0.0}, ())  # type: ignore[arg-type]
    figures = swap._judge(loaded, swaps, 100.0)["swap"].figures
    assert figures[0].value == pytest.approx(3.0)
    assert figures[0].n == figures[3].n == 70


def test_hindsight_is_the_median_of_batches_of_the_same_size() -> None:
    """Sizes that are rare have none."""
    batches = [(8, 0.0, 0.0, 0.001)] * 9 + [(8, 0.0, 0.0, 0.002), (16, 0.0, 0.0, 9.0)]
    assert sorted(service_times._hindsight(batches)) == [0.0] * 9 + [pytest.approx(1.0)]


def test_plan_with_all_repetitions_is_below_an_hour() -> None:
    """What is repeated has to fit."""
    assert plan(["deadlines"]).splitlines()[0].split() == ["10", "s", "deadlines"]
    assert "; 57 if all" in plan(list(MEASUREMENTS))


def test_probes_are_told_apart_by_time_and_path() -> None:
    """Each stage has its own."""
    probes = Probes(None)  # type: ignore[arg-type]
    probes.seen = [Probe("/metrics", 1.0, 0.1, 200), Probe("/health/live", 2.0, 0.1, 200)]
    assert len(probes.during(0, 3)) == 2
    assert [probe.at_s for probe in probes.during(1.5, 3)] == [2.0]
    assert not probes.during(1.5, 3, "/metrics")


def test_own_work_is_not_taken_for_that_of_others() -> None:
    """Steal and foreign programs are noise, what this process does is not."""
    with watched() as watch:
        until = time.process_time() + 0.3
        while time.process_time() < until:
            pass
    assert 0.0 <= watch.others < 1.0
    assert Watch(0.0, 0.0).noise == ()
    assert len(Watch(0.1, 0.1).noise) == 2
    assert not (split_cores().server & split_cores().clients) or len(split_cores().server) == 1


@contextlib.contextmanager
def origin(*answers: bytes) -> Iterator[int]:
    """A port where each connection is sent the next answer, then closed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65_536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def test_exchange_tells_an_answer_from_a_closed_connection() -> None:
    """Both can be a refusal."""
    answer = b"HTTP/1.1 431 x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
    with origin(answer, b"") as port:
        seen = exchange(port, classify())
        assert (seen.status, seen.closed, seen.body) == (431, True, b"no")
        assert exchange(port, classify())[:2] == (0, True)


def test_client_reads_whole_answers_and_survives_cut_ones() -> None:
    """Status 0 for what was cut off."""
    whole = b"HTTP/1.1 503 x\r\nContent-Length: 2\r\nRetry-After: 3\r\n\r\nno"

    async def scenario(port: int) -> None:
        client = Client(port)
        reply = await client.send(classify())
        assert (reply.status, reply.headers["retry-after"], reply.body) == (503, "3", b"no")
        await asyncio.sleep(0.05)  # until the end of the connection has arrived
        assert (await client.send(classify())).status == 0
        client.close()

    with origin(whole, whole[:-1]) as port:
        asyncio.run(scenario(port))


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Server]:
    """A running service on an engine that takes a millisecond."""
    with running(Lab(tmp_path, tmp_path).fake(Curve(0.001, 0.0))) as server:
        yield server


@pytest.mark.e2e
def test_service_in_a_process_is_asked_commanded_and_stopped(fake: Server) -> None:
    """All that the measurements do to one."""
    assert exchange(fake.port, classify()).status == 200
    assert fake.metrics()['heed_requests_total{outcome="ok"}'] == 1
    assert fake.usage().rss_bytes > 1e6
    assert fake.tell("tasks") > 0
    before = fake.tell("rows")
    fake.tell("fail", how="raise")
    assert exchange(fake.port, classify(POISON)).status == 500
    fake.tell("fail", how="none")
    assert exchange(fake.port, classify(POISON)).status == 200
    assert fake.tell("rows") > before
    assert fake.stop() == 0
    outcomes = [record["outcome"] for record in fake.records() if record["method"] == "POST"]
    assert outcomes == ["ok", "engine_error", "ok"]
