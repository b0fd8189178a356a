"""Which versions of the model are loaded, which of them answers, and how that changes."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from service.background import start
from service.classifier import Classifier
from service.errors import (
    ClosedError,
    RequestError,
    UnknownModelError,
    VersionChangeError,
    VersionRefusedError,
)
from service.loader import LoadedModel
from service.runtime.artifact import ArtifactError
from service.runtime.engine import EngineError, Interrupt
from service.runtime.errors import HeedError
from service.runtime.versions import Versions, version_key

ResultT = TypeVar("ResultT")

_UNFINISHED_S = 1.0  # for a load that was given up to end, before the next one begins
_MOST_UNFINISHED = 2  # threads of such loads; one that never ends must not keep a good version out


class Store(Protocol):
    """Where versions come from; see `service.loader.ModelStore`. Its methods block."""

    def versions(self) -> Versions:
        """What could be loaded."""

    def load(
        self,
        version: str | None = None,
        beside_traffic: bool = False,
        interrupt: Interrupt | None = None,
    ) -> LoadedModel:
        """A version, ready to answer; the highest if none is named."""


class Change(NamedTuple):
    """An attempt to change the version that answers, and what became of it.

    `outcome` is `activated`, `unchanged` (it answers already), `refused` (it is not fit to),
    `cancelled` (the service was shut down or rolled back meanwhile) or `failed` (an error of our
    own). The labels are those that only one of both versions has.
    """

    action: str
    outcome: str
    version: str | None
    duration_s: float = 0.0
    reason: str | None = None
    labels_added: tuple[str, ...] = ()
    labels_removed: tuple[str, ...] = ()


class Policy(NamedTuple):
    """How long versions stay: `max_loaded` in memory; one that goes keeps `drain_s` to finish.

    While one does, no other is loaded: never more than one above `max_loaded` is in memory, but for
    what is left of a load that was given up. A load has `load_s`.
    """

    max_loaded: int = 2
    drain_s: float = 0.0  # no shorter than a request may take
    load_s: float = 120.0


_DEFAULT = Policy()


@dataclass
class _Attempt:
    version: str | None  # as soon as it is known
    task: asyncio.Task[Change] | None = None
    rolled_back: bool = False


class Registry:
    """The loaded versions of one model. Lives on the event loop.

    A request stays with the version that it began with. The versions that were active one after the
    other are kept as a history, so that rolling back takes one assignment.
    """

    def __init__(
        self,
        store: Store,
        make: Callable[[LoadedModel], Classifier],
        policy: Policy = _DEFAULT,
        on_active: Callable[[Classifier], None] = lambda classifier: None,
        on_change: Callable[[Change], None] = lambda change: None,
    ) -> None:
        """Load nothing yet.

        Args:
            store: reads and warms versions, on a thread.
            make: gives a loaded model its batcher.
            policy: how many versions stay in memory, and for how long.
            on_active: called with each version before it answers.
            on_change: called with what became of each attempt to change the version.
        """
        self._store = store
        self._make = make
        self._policy = policy
        self._on_active = on_active
        self._on_change = on_change
        self._history: list[Classifier] = []  # the last one answers
        self._spare: list[Classifier] = []  # rolled back; the first ones to go
        self._evictions: set[asyncio.Task[None]] = set()
        self._loads: set[asyncio.Future[LoadedModel]] = set()  # threads that have not ended
        self._under_way: _Attempt | None = None
        self._closed = False

    @property
    def active(self) -> Classifier:
        """What answers requests that name no version.

        Raises:
            UnknownModelError: nothing is loaded.
        """
        if not self._history:
            raise UnknownModelError("no model is loaded")
        return self._history[-1]

    @property
    def classifiers(self) -> Sequence[Classifier]:
        """What is loaded, the active version first, then from the highest to the lowest."""
        others = [loaded for loaded in self._spare + self._history if loaded is not self.active]
        return [
            self.active,
            *sorted(others, key=lambda it: version_key(_version(it)), reverse=True),
        ]

    def resolve(self, model: str | None = None, version: str | None = None) -> Classifier:
        """What answers for this version; the active one if a request names none.

        Raises:
            UnknownModelError: it is not loaded.
        """
        active = self.active
        if model is None and version is None:
            return active
        for classifier in self.classifiers:
            manifest = classifier.model.manifest
            if model in (None, manifest.name) and version in (None, manifest.version):
                return classifier
        manifests = [classifier.model.manifest for classifier in self.classifiers]
        served = ", ".join(f"{manifest.name} version {manifest.version}" for manifest in manifests)
        # What was asked for is not repeated: no part of a request is echoed.
        raise UnknownModelError(f"this model or version is not served here; served: {served}")

    async def start(self) -> None:
        """Load the highest version.

        Raises:
            ArtifactError, EngineError: it cannot be served.
        """
        started = time.monotonic()
        with _as_refusal():
            classifier = self._make(await self._read(None, beside_traffic=False))
        self._put(classifier)
        version = _version(classifier)
        self._on_change(Change("start", "activated", version, time.monotonic() - started))

    async def available(self) -> list[str]:
        """The versions on disk, the highest last.

        Raises:
            VersionRefusedError: the folder cannot be read.
        """
        return list((await self._look()).manifests)

    async def activate(self, version: str) -> Change:
        """Let `version` answer; it is loaded first, beside the one that answers until then.

        Raises:
            UnknownModelError: there is no such version on disk.
            VersionRefusedError: it cannot be served; the active one serves on.
            VersionChangeError: another change is under way.
            ClosedError: the service is shutting down.
        """
        with self._attempt("activate", version) as attempt:
            return await self._unless_ended(attempt, self._activate("activate", version))

    async def reload(self) -> Change:
        """Let the highest version on disk answer.

        Raises:
            VersionRefusedError, VersionChangeError, ClosedError: as `activate`.
        """
        with self._attempt("reload") as attempt:
            return await self._unless_ended(attempt, self._reload(attempt))

    def rollback(self) -> Change:
        """Let the version answer that did before the active one, at once.

        A change that is under way ends without effect; its caller gets a `VersionChangeError`. If
        it was the first one there is nothing else to go back from, and the active version stays.

        Raises:
            VersionChangeError: none is in memory.
        """
        with self._attempt("rollback", alone=False):
            started, before, under_way = time.monotonic(), self.active, self._under_way
            if under_way and under_way.task:
                under_way.rolled_back = True
                under_way.task.cancel()
            if len(self._history) > 1:
                self._on_active(self._history[-2])
                self._spare.append(self._history.pop())
                return self._tell("rollback", before, started)
            if under_way:
                return self._report(Change("rollback", "unchanged", _version(before)))
            raise VersionChangeError("no earlier version is in memory; load one by its name")

    async def close(self, timeout_s: float) -> None:
        """Take nothing new, compute what was accepted for `timeout_s` seconds at most."""
        if self._closed:
            return
        self._closed = True
        for eviction in self._evictions:
            eviction.cancel()
        if self._under_way and self._under_way.task:
            self._under_way.task.cancel()
        loaded = self._spare + self._history
        await asyncio.gather(*(classifier.close(timeout_s) for classifier in loaded))
        await asyncio.gather(*self._evictions, return_exceptions=True)

    async def _activate(self, action: str, version: str) -> Change:
        started, before = time.monotonic(), self.active
        if version == _version(before):
            return self._report(Change(action, "unchanged", version))
        loaded = next((it for it in self.classifiers if _version(it) == version), None)
        self._put(loaded or await self._load(version))
        return self._tell(action, before, started)

    async def _reload(self, attempt: _Attempt) -> Change:
        on_disk, active = await self._look(), self.active.model.manifest
        attempt.version = version = on_disk.newest
        if version == active.version and on_disk.manifests[version] != active:
            raise VersionRefusedError(
                f"version {version} on disk is another than version {version} that answers; export "
                "it as a version of its own"
            )
        return await self._activate("reload", version)

    async def _load(self, version: str) -> Classifier:
        on_disk = await self._look()
        if version in on_disk.passed_over:
            raise VersionRefusedError(f"{version}: {on_disk.passed_over[version]}")
        if version not in on_disk.manifests:
            raise UnknownModelError("there is no such version on disk")
        await self._make_room()
        with _as_refused_version(), _as_refusal():
            return self._make(await self._read(version, beside_traffic=True))

    async def _make_room(self) -> None:
        """Wait for versions that leave, or fast changes would pile up in memory."""
        if self._evictions:
            await asyncio.wait(self._evictions)
        if self._loads:
            await asyncio.wait(self._loads, timeout=_UNFINISHED_S)
        if len(self._loads) >= _MOST_UNFINISHED:
            raise VersionChangeError("loads that were given up have not ended; restart the service")

    async def _look(self) -> Versions:
        with _as_refused_version():
            return await self._in_time(start(self._store.versions))

    async def _read(self, version: str | None, *, beside_traffic: bool) -> LoadedModel:
        """A version from disk; the thread is told to end when nobody waits for it any more.

        It cannot be made to: whatever becomes of it, its model is never used.
        """
        interrupt = Interrupt()
        load = start(lambda: self._store.load(version, beside_traffic, interrupt))
        self._loads.add(load)
        load.add_done_callback(self._ended)
        try:
            model = await self._in_time(load)
        finally:
            if not load.done():
                interrupt()
        if version is not None:
            found, served = model.manifest, self.active.model.manifest
            if (found.name, found.version) != (served.name, version):
                raise ArtifactError(
                    f"its manifest says model {found.name} version {found.version}; expected model "
                    f"{served.name} version {version}"
                )
        return model

    def _ended(self, load: asyncio.Future[LoadedModel]) -> None:
        self._loads.discard(load)
        load.exception()  # else asyncio reports one that nobody has waited for

    async def _in_time(self, work: asyncio.Future[ResultT]) -> ResultT:
        """What `work` gives, which goes on if it takes too long or the caller is cancelled."""
        await asyncio.wait({work}, timeout=self._policy.load_s)
        if not work.done():
            raise EngineError(f"it was not loaded within {self._policy.load_s:g} s")
        return work.result()

    def _put(self, classifier: Classifier) -> None:
        """Let `classifier` answer, and let go of what is too much."""
        self._on_active(classifier)
        for versions in (self._spare, self._history):
            if classifier in versions:
                versions.remove(classifier)
        self._history.append(classifier)
        while len(self._spare) + len(self._history) > self._policy.max_loaded:
            leaving = (self._spare or self._history).pop(0)
            task = asyncio.get_running_loop().create_task(self._evict(leaving))
            self._evictions.add(task)
            task.add_done_callback(self._evictions.discard)

    async def _evict(self, classifier: Classifier) -> None:
        """No request finds it any more; those that did are answered within `drain_s`."""
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(classifier.idle(), self._policy.drain_s)
        finally:
            await classifier.close(0.0)

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("the service is shutting down")

    async def _unless_ended(
        self, attempt: _Attempt, change: Coroutine[None, None, Change]
    ) -> Change:
        """What becomes of `change`, unless a rollback or the end of the service comes first."""
        attempt.task = asyncio.get_running_loop().create_task(change)
        try:
            return await attempt.task
        except asyncio.CancelledError:
            self._check_open()
            if attempt.rolled_back:
                raise VersionChangeError("given up: a rollback came meanwhile") from None
            raise

    @contextlib.contextmanager
    def _attempt(
        self, action: str, version: str | None = None, *, alone: bool = True
    ) -> Iterator[_Attempt]:
        """Whatever goes wrong is reported; one at a time if `alone`."""
        attempt = _Attempt(version)
        try:
            self._check_open()
            if alone and self._under_way:
                raise VersionChangeError("another change of the version is under way")
            if alone:
                self._under_way = attempt
            try:
                yield attempt
            finally:
                if alone:
                    self._under_way = None
        except (ClosedError, asyncio.CancelledError):
            self._report(Change(action, "cancelled", attempt.version))
            raise
        except RequestError as error:
            outcome = "cancelled" if attempt.rolled_back else "refused"
            self._report(Change(action, outcome, attempt.version, reason=str(error)))
            raise
        except Exception as error:
            self._report(Change(action, "failed", attempt.version, reason=type(error).__name__))
            raise

    def _tell(self, action: str, before: Classifier, started: float) -> Change:
        """Report that the active version is another than `before`."""
        old, new = before.model.manifest.labels, self.active.model.manifest.labels
        return self._report(
            Change(
                action,
                "activated",
                _version(self.active),
                time.monotonic() - started,
                labels_added=tuple(label for label in new if label not in old),
                labels_removed=tuple(label for label in old if label not in new),
            )
        )

    def _report(self, change: Change) -> Change:
        self._on_change(change)
        return change


@contextlib.contextmanager
def _as_refusal() -> Iterator[None]:
    """Whatever goes wrong in loading a version, it is not fit to answer.

    Raises:
        HeedError: as it came; any other error becomes an `ArtifactError`.
    """
    try:
        yield
    except HeedError:
        raise
    except Exception as error:  # no memory, no thread, a library that fails in its own way
        reason = " ".join(f"{type(error).__name__} {error}".split())
        raise ArtifactError(f"it cannot be loaded: {reason}") from error


@contextlib.contextmanager
def _as_refused_version() -> Iterator[None]:
    """What the version is not fit for becomes the answer to who asked for it."""
    try:
        yield
    except (ArtifactError, EngineError) as error:
        raise VersionRefusedError(str(error)) from error


def _version(classifier: Classifier) -> str:
    return classifier.model.manifest.version
