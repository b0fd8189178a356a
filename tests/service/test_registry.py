"""Which version answers, how it is changed, and what stays in memory."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from service import loader
from service.errors import (
    ClosedError,
    UnknownModelError,
    VersionChangeError,
    VersionRefusedError,
)
from service.loader import LoadedModel, load_model
from service.registry import Change, Policy, Registry
from service.runtime.artifact import ArtifactError, Manifest
from service.runtime.engine import EngineError, Interrupt
from service.runtime.versions import Versions
from service.settings import Settings
from tests.fakes import FakeEngine


class Shelf:
    """Versions on disk that a test steers: `broken` ones fail, a cleared `gate` holds loading."""

    def __init__(self, model: LoadedModel, *versions: str) -> None:
        self.model = model
        self.on_disk = list(versions)
        self.broken: dict[str, Exception] = {}
        self.changed: dict[str, dict[str, object]] = {}
        self.loaded: list[str] = []
        self.beside_traffic: list[bool] = []
        self.interrupts: list[Interrupt | None] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def versions(self) -> Versions:
        """See `ModelStore.versions`."""
        return Versions(Path(), {version: self.manifest(version) for version in self.on_disk}, {})

    def manifest(self, version: str) -> Manifest:
        """What this version says of itself."""
        fields = {"version": version} | self.changed.get(version, {})
        return replace(self.model.manifest, **fields)

    def load(
        self,
        version: str | None = None,
        beside_traffic: bool = False,
        interrupt: Interrupt | None = None,
    ) -> LoadedModel:
        """See `ModelStore.load`."""
        version = version or self.on_disk[-1]
        self.interrupts.append(interrupt)
        self.entered.set()
        assert self.gate.wait(20)
        if version in self.broken:
            raise self.broken[version]
        self.loaded.append(version)
        self.beside_traffic.append(beside_traffic)
        return replace(self.model, manifest=self.manifest(version))


class Classifiers:
    """Makes as much of a classifier as the registry looks at, and knows which were closed.

    While `unused` is clear, a request is in each of them.
    """

    def __init__(self) -> None:
        self.closed: list[tuple[str, float]] = []
        self.unused = asyncio.Event()
        self.unused.set()

    def make(self, model: LoadedModel) -> SimpleNamespace:
        """A classifier of `model`."""

        async def close(timeout_s: float) -> None:
            self.closed.append((model.manifest.version, timeout_s))

        return SimpleNamespace(model=model, close=close, idle=self.unused.wait)


Start = Callable[..., Registry]


@pytest.fixture
def model(settings: Settings) -> LoadedModel:
    """Version 1 of the tiny model."""
    return load_model(settings, FakeEngine())


@pytest.fixture
def shelf(model: LoadedModel) -> Shelf:
    """Versions 1 to 4; a test starts with the first."""
    return Shelf(model, "1")


@pytest.fixture
def classifiers() -> Classifiers:
    """See `Classifiers`."""
    return Classifiers()


@pytest.fixture
def changes() -> list[Change]:
    """What was reported."""
    return []


@pytest.fixture
async def registry(shelf, classifiers, changes) -> Registry:
    """A registry that began with version 1; 2, 3 and 4 have come since."""
    registry = Registry(shelf, classifiers.make, Policy(max_loaded=2), on_change=changes.append)
    await registry.start()
    shelf.on_disk = ["1", "2", "3", "4"]
    changes.clear()
    return registry


def loaded(registry: Registry) -> list[str]:
    """The versions in memory, the active one first."""
    return [classifier.model.manifest.version for classifier in registry.classifiers]


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_highest_version_answers_from_the_start(shelf, classifiers, changes):
    """At normal priority, as nothing else is served yet."""
    shelf.on_disk = ["9", "10"]
    registry = Registry(shelf, classifiers.make, on_change=changes.append)
    await registry.start()
    assert registry.resolve().model.manifest.version == "10"
    assert shelf.beside_traffic == [False]
    assert [(change.action, change.outcome) for change in changes] == [("start", "activated")]


async def test_active_version_answers_unless_another_loaded_one_is_named(registry):
    """What is on disk only does not answer."""
    await registry.activate("2")
    assert registry.resolve().model.manifest.version == "2"
    assert registry.resolve("tiny", "1").model.manifest.version == "1"
    for model, version in (("tiny", "3"), ("other", None)):
        with pytest.raises(UnknownModelError, match="served: tiny version 2, tiny version 1"):
            registry.resolve(model, version)


async def test_version_is_loaded_beside_the_one_that_answers_meanwhile(registry, shelf):
    """At low priority; the change itself takes no time."""
    shelf.gate.clear()
    task = asyncio.create_task(registry.activate("2"))
    await asyncio.to_thread(shelf.entered.wait, 20)
    assert registry.resolve().model.manifest.version == "1"
    shelf.gate.set()
    change = await task
    assert (change.outcome, change.version) == ("activated", "2")
    assert shelf.beside_traffic == [False, True]


async def test_what_is_not_loaded_is_refused_and_the_active_version_serves_on(
    registry, shelf, changes
):
    """A broken artifact, an engine that does not start, another model, no such version."""
    shelf.broken = {"2": ArtifactError("2: model.onnx was changed"), "3": EngineError("no GPU")}
    shelf.changed = {"4": {"name": "other"}}
    passed_over = {"2.bak": "it is tiny version 2; expected a folder named 2"}
    found = replace(shelf.versions(), passed_over=passed_over)
    shelf.versions = lambda: found
    for version, error, message in [
        ("2", VersionRefusedError, "2: model.onnx was changed"),
        ("3", VersionRefusedError, "no GPU"),
        ("4", VersionRefusedError, "says model other version 4; expected model tiny version 4"),
        ("5", UnknownModelError, "no such version on disk"),
        ("2.bak", VersionRefusedError, "it is tiny version 2; expected a folder named 2"),
    ]:
        with pytest.raises(error, match=message):
            await registry.activate(version)
    assert loaded(registry) == ["1"]
    assert [(change.outcome, change.version) for change in changes] == [
        ("refused", version) for version in ("2", "3", "4", "5", "2.bak")
    ]


@pytest.mark.parametrize("error", [MemoryError("too\nlarge"), RuntimeError("too\nlarge")])
async def test_whatever_goes_wrong_in_loading_refuses_the_version(registry, shelf, changes, error):
    """The old one serves on; at the start it is an error that ends `heed` with a line."""
    shelf.broken = {"2": error}
    reason = f"it cannot be loaded: {type(error).__name__} too large"
    with pytest.raises(VersionRefusedError, match=reason):
        await registry.activate("2")
    assert [(change.outcome, change.reason) for change in changes] == [("refused", reason)]
    assert loaded(registry) == ["1"]
    assert (await registry.activate("3")).outcome == "activated"
    shelf.on_disk = ["2"]
    with pytest.raises(ArtifactError, match=reason):
        await Registry(shelf, Classifiers().make).start()


async def test_version_that_gets_no_threads_is_refused(shelf, classifiers):
    """Loaded, but without a batcher it cannot answer."""
    registry = Registry(shelf, classifiers.make)
    await registry.start()

    def make(model: LoadedModel) -> SimpleNamespace:
        raise RuntimeError("can't start new thread")

    registry._make = make
    shelf.on_disk = ["1", "2"]
    with pytest.raises(VersionRefusedError, match="can't start new thread"):
        await registry.activate("2")
    assert loaded(registry) == ["1"]


async def test_failure_of_our_own_is_reported_without_its_message(registry, changes):
    """The caller gets the exception; the next change is as good as any."""

    def fail(classifier: SimpleNamespace) -> None:
        raise ZeroDivisionError("a secret")

    registry._on_active, on_active = fail, registry._on_active
    with pytest.raises(ZeroDivisionError):
        await registry.activate("2")
    assert [(change.outcome, change.reason) for change in changes] == [
        ("failed", "ZeroDivisionError")
    ]
    registry._on_active = on_active
    assert (await registry.activate("3")).outcome == "activated"


async def test_one_change_at_a_time(registry, shelf, changes):
    """Whatever else comes is refused, not queued."""
    shelf.gate.clear()
    task = asyncio.create_task(registry.activate("2"))
    await asyncio.to_thread(shelf.entered.wait, 20)
    with pytest.raises(VersionChangeError, match="under way"):
        await registry.activate("3")
    with pytest.raises(VersionChangeError, match="under way"):
        await registry.reload()
    shelf.gate.set()
    assert (await task).version == "2"
    assert [change.outcome for change in changes] == ["refused"] * 2 + ["activated"]


async def loading(registry: Registry, shelf: Shelf, version: str) -> asyncio.Task[Change]:
    """A change that has begun to load, and goes on until the gate is opened."""
    shelf.entered.clear()
    shelf.gate.clear()
    task = asyncio.create_task(registry.activate(version))
    assert await asyncio.to_thread(shelf.entered.wait, 20)
    return task


async def test_rollback_never_waits_for_a_load(registry, shelf, changes):
    """The load is given up, told to end, and what comes of it is dropped."""
    await registry.activate("2")
    task = await loading(registry, shelf, "3")
    assert registry.rollback()[:3] == ("rollback", "activated", "1")
    with pytest.raises(VersionChangeError, match="given up: a rollback came meanwhile"):
        await task
    assert shelf.interrupts[-1].options.terminate
    shelf.gate.set()
    assert (await registry.activate("4")).version == "4"
    assert loaded(registry) == ["4", "1"]
    assert [change[:3] for change in changes[1:]] == [
        ("rollback", "activated", "1"),
        ("activate", "cancelled", "3"),
        ("activate", "activated", "4"),
    ]


async def test_rollback_of_the_first_change_gives_it_up(registry, shelf):
    """There is nothing before it but what answers still."""
    task = await loading(registry, shelf, "2")
    assert registry.rollback()[:3] == ("rollback", "unchanged", "1")
    with pytest.raises(VersionChangeError, match="given up"):
        await task
    with pytest.raises(VersionChangeError, match="no earlier version"):
        registry.rollback()
    shelf.gate.set()
    assert loaded(registry) == ["1"]


async def test_load_that_takes_too_long_is_refused(shelf, classifiers, changes):
    """As any bad version; one that never ends keeps no good one out, but a second one does."""
    policy = Policy(max_loaded=2, load_s=0.05)
    registry = Registry(shelf, classifiers.make, policy, on_change=changes.append)
    await registry.start()
    shelf.on_disk = ["1", "2", "3", "4"]
    gates = [threading.Event(), threading.Event()]
    for gate, version in zip(gates, ("2", "3"), strict=True):
        shelf.gate = gate
        with pytest.raises(VersionRefusedError, match=r"not loaded within 0\.05 s"):
            await registry.activate(version)
        assert shelf.interrupts[-1].options.terminate
    shelf.gate = threading.Event()
    shelf.gate.set()
    with pytest.raises(VersionChangeError, match="have not ended"):
        await registry.activate("4")
    gates[0].set()
    assert (await registry.activate("4")).version == "4"
    gates[1].set()
    assert loaded(registry) == ["4", "1"]
    assert [change.outcome for change in changes] == ["activated", *["refused"] * 3, "activated"]


async def test_start_that_takes_too_long_is_an_error(shelf, classifiers):
    """Nothing answers yet: the process ends with the reason."""
    shelf.gate.clear()
    with pytest.raises(EngineError, match=r"not loaded within 0\.05 s"):
        await Registry(shelf, classifiers.make, Policy(load_s=0.05)).start()
    shelf.gate.set()


async def test_folder_that_cannot_be_listed_in_time_is_refused(shelf, classifiers):
    """A disk of the network that hangs, say."""
    registry = Registry(shelf, classifiers.make, Policy(load_s=0.05))
    await registry.start()
    gate = threading.Event()
    shelf.versions = lambda: gate.wait(20)
    with pytest.raises(VersionRefusedError, match="not loaded within"):
        await registry.reload()
    gate.set()


async def test_other_content_under_the_version_that_answers_is_refused(registry, shelf):
    """It would be another answer under the same name, or none at all without a word."""
    shelf.on_disk = ["1"]
    shelf.changed = {"1": {"git_commit": "another"}}
    with pytest.raises(VersionRefusedError, match="export it as a version of its own"):
        await registry.reload()
    assert shelf.loaded == ["1"]


async def test_rollback_takes_the_version_before_from_memory(registry, shelf):
    """Nothing is read; a second one has nowhere to go, and does not come back."""
    await registry.activate("2")
    change = registry.rollback()
    assert (change.action, change.version) == ("rollback", "1")
    assert registry.resolve().model.manifest.version == "1"
    assert shelf.loaded == ["1", "2"]
    with pytest.raises(VersionChangeError, match="no earlier version"):
        registry.rollback()
    assert loaded(registry) == ["1", "2"]


async def test_rollback_goes_further_back_each_time(shelf, classifiers):
    """Through the versions in the order in which they answered."""
    registry = Registry(shelf, classifiers.make, Policy(max_loaded=3))
    await registry.start()
    shelf.on_disk = ["1", "2", "3"]
    await registry.activate("3")
    await registry.activate("2")
    assert [registry.rollback().version for _ in range(2)] == ["3", "1"]
    await registry.activate("2")
    assert registry.rollback().version == "1"
    assert shelf.loaded == ["1", "3", "2"]


async def test_no_more_versions_stay_in_memory_than_the_policy_says(registry, classifiers):
    """What was rolled back goes first, then what is longest past."""
    await registry.activate("2")
    await registry.activate("3")
    await settle()
    assert loaded(registry) == ["3", "2"]
    assert classifiers.closed == [("1", 0.0)]
    registry.rollback()
    await registry.activate("4")
    await settle()
    assert loaded(registry) == ["4", "2"]
    assert classifiers.closed == [("1", 0.0), ("3", 0.0)]


async def test_version_that_leaves_first_finishes_what_it_began(shelf, classifiers):
    """No request finds it any more, but it is not closed while one is in it."""
    classifiers.unused.clear()
    registry = Registry(shelf, classifiers.make, Policy(max_loaded=1, drain_s=3600.0))
    await registry.start()
    shelf.on_disk = ["1", "2"]
    await registry.activate("2")
    await settle()
    assert loaded(registry) == ["2"]
    assert classifiers.closed == []
    with pytest.raises(VersionChangeError, match="no earlier version"):
        registry.rollback()
    await registry.close(5.0)
    assert sorted(classifiers.closed) == [("1", 0.0), ("2", 5.0)]


async def test_nothing_is_loaded_while_a_version_that_leaves_finishes_its_requests(
    shelf, classifiers
):
    """Fast changes wait: no more than one version above the policy is ever in memory."""
    classifiers.unused.clear()
    registry = Registry(shelf, classifiers.make, Policy(max_loaded=1, drain_s=3600.0))
    await registry.start()
    shelf.on_disk = ["1", "2", "3"]
    await registry.activate("2")
    changing = asyncio.create_task(registry.activate("3"))
    for _ in range(20):
        await asyncio.sleep(0.005)
        assert shelf.loaded == ["1", "2"]
    classifiers.unused.set()
    assert (await changing).version == "3"
    assert classifiers.closed == [("1", 0.0)]
    await settle()
    assert classifiers.closed == [("1", 0.0), ("2", 0.0)]


async def test_version_that_leaves_is_closed_when_its_requests_have_had_their_time(
    shelf, classifiers
):
    """Whatever is in it still would be too late."""
    classifiers.unused.clear()
    registry = Registry(shelf, classifiers.make, Policy(max_loaded=1, drain_s=0.01))
    await registry.start()
    shelf.on_disk = ["1", "2"]
    await registry.activate("2")
    await asyncio.gather(*registry._evictions)
    assert classifiers.closed == [("1", 0.0)]


async def test_change_that_waits_for_a_version_to_leave_is_cancelled_by_the_end(
    shelf, classifiers, changes
):
    """Nothing more is loaded."""
    classifiers.unused.clear()
    policy = Policy(max_loaded=1, drain_s=3600.0)
    registry = Registry(shelf, classifiers.make, policy, on_change=changes.append)
    await registry.start()
    shelf.on_disk = ["1", "2", "3"]
    await registry.activate("2")
    changing = asyncio.create_task(registry.activate("3"))
    await asyncio.sleep(0.05)
    await registry.close(0.0)
    with pytest.raises(ClosedError):
        await changing
    assert shelf.loaded == ["1", "2"]
    assert changes[-1][:3] == ("activate", "cancelled", "3")


async def test_reload_activates_the_highest_version_on_disk(registry, shelf, changes):
    """And does nothing if that one answers already, whatever else is there."""
    assert (await registry.reload()).version == "4"
    assert (await registry.reload()).outcome == "unchanged"
    assert shelf.loaded == ["1", "4"]
    assert [(change.action, change.outcome) for change in changes] == [
        ("reload", "activated"),
        ("reload", "unchanged"),
    ]


async def test_reload_that_is_refused_is_reported(registry, shelf, changes):
    """A folder that is gone, and a broken version, by its name."""

    def gone() -> Versions:
        raise ArtifactError("models does not exist")

    shelf.versions = gone
    with pytest.raises(VersionRefusedError, match="does not exist"):
        await registry.reload()
    assert changes == [Change("reload", "refused", None, reason="models does not exist")]
    del shelf.versions
    shelf.broken = {"4": ArtifactError("broken")}
    with pytest.raises(VersionRefusedError):
        await registry.reload()
    assert changes[1:] == [Change("reload", "refused", "4", reason="broken")]


async def test_other_labels_are_allowed_and_reported(registry, shelf):
    """Whether clients can live with them is for people to know."""
    shelf.changed = {"2": {"labels": ("card_arrival", "refund", "stolen_card")}}
    change = await registry.activate("2")
    assert (change.labels_added, change.labels_removed) == (("stolen_card",), ("double_charge",))


async def test_end_cancels_a_version_that_is_being_loaded(registry, shelf, classifiers, changes):
    """At once, and it is never started: nobody would close it."""
    shelf.entered.clear()
    shelf.gate.clear()
    task = asyncio.create_task(registry.activate("2"))
    await asyncio.to_thread(shelf.entered.wait, 20)
    await registry.close(1.0)
    with pytest.raises(ClosedError):
        await task
    shelf.gate.set()
    assert classifiers.closed == [("1", 1.0)]
    assert changes == [Change("activate", "cancelled", "2")]


async def test_end_cancels_a_version_of_which_nothing_is_loaded_yet(registry, shelf, changes):
    """The folder is looked through before."""
    task = asyncio.create_task(registry.activate("2"))
    await asyncio.sleep(0)
    await registry.close(0.0)
    with pytest.raises(ClosedError):
        await task
    assert shelf.loaded == ["1"]
    assert changes == [Change("activate", "cancelled", "2")]


async def test_change_whose_caller_is_cancelled_is_reported_as_that(registry, shelf, changes):
    """And keeps no other from beginning."""
    shelf.gate.clear()
    task = asyncio.create_task(registry.activate("2"))
    await asyncio.to_thread(shelf.entered.wait, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    shelf.gate.set()
    assert changes == [Change("activate", "cancelled", "2")]
    assert (await registry.activate("3")).outcome == "activated"


async def test_nothing_is_changed_after_the_end(registry, changes):
    """Whatever is asked for."""
    await registry.activate("2")
    await registry.close(0.0)
    with pytest.raises(ClosedError):
        registry.rollback()
    for change in (registry.activate("1"), registry.reload()):
        with pytest.raises(ClosedError):
            await change
    assert [change.outcome for change in changes] == ["activated"] + ["cancelled"] * 3


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (4, 1)),
        ({"engine_workers": 1}, (1, 4)),
        ({"engine_workers": 2}, (2, 2)),
        ({"engine_workers": 8}, (8, 1)),
        ({"intra_op_num_threads": 3}, (4, 3)),
    ],
)
def test_workers_and_threads_follow_the_cpu_quota(monkeypatch, settings, given, expected):
    """All CPUs are used and none twice, unless settings say so."""
    monkeypatch.setattr(loader, "cpu_quota", lambda: 4)
    model = load_model(settings.model_copy(update=given), FakeEngine())
    assert (model.engine_workers, model.intra_op_num_threads) == expected


def test_gpu_has_one_worker(settings, fake_engine):
    """It computes one batch at a time."""
    fake_engine.execution_provider = "cuda"
    assert load_model(settings, fake_engine).engine_workers == 1


def test_missing_provider_is_an_error_at_start(settings):
    """Not a silent fallback."""
    with pytest.raises(EngineError, match="'cuda' is not in this ONNX Runtime"):
        load_model(settings.model_copy(update={"execution_provider": "cuda"}))
