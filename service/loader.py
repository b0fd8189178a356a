"""A model in memory: read, verified, started, warm."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import orjson

from service.isolation import compute
from service.runtime.artifact import Artifact, Manifest, read_artifact
from service.runtime.cpu import cpu_quota, lower_priority
from service.runtime.engine import PROVIDERS, Engine, EngineError, EngineOutput, Interrupt
from service.runtime.onnx import onnxruntime
from service.runtime.postprocess import ranked
from service.runtime.tokenizer import Int64Array, Tokenizer, pad
from service.runtime.versions import Versions, find_versions
from service.settings import Settings

_TRIAL = "Where is my card? 我的卡在哪里"


class EngineLike(Protocol):
    """What the service uses of `Engine`; tests bring their own."""

    execution_provider: str

    def run(self, input_ids: Int64Array, attention_mask: Int64Array) -> EngineOutput:
        """See `Engine.run`."""

    def warm_up(self, max_batch_size: int, max_batch_tokens: int) -> list[tuple[int, float]]:
        """See `Engine.warm_up`."""


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A version of a model, ready to answer; `warm_up` is what `Engine.warm_up` measured."""

    manifest: Manifest
    manifest_sha256: str
    tokenizer: Tokenizer
    engine: EngineLike
    engine_workers: int
    intra_op_num_threads: int
    warm_up: Sequence[tuple[int, float]]


class ModelStore:
    """The versions on disk of the model that the settings name. Its methods read from disk."""

    def __init__(self, settings: Settings, engine: EngineLike | None = None) -> None:
        """Remember where the model is, and how it runs; `engine` is used in place of a new one."""
        self._settings = settings
        self._engine = engine
        self._model: str | None = None  # its name, from the first version that was loaded

    def versions(self) -> Versions:
        """What could be loaded.

        Raises:
            ArtifactError: there is none, or the folder cannot be read.
        """
        return find_versions(self._settings.model, self._model)

    def load(
        self,
        version: str | None = None,
        beside_traffic: bool = False,
        interrupt: Interrupt | None = None,
    ) -> LoadedModel:
        """Read, verify, start and warm a version; the highest if none is named.

        Args:
            version: as its folder is named, unless the settings' model is an artifact itself.
            beside_traffic: whether requests go first; the priority of this thread is lowered.
            interrupt: called when nobody waits for the model any more.

        Raises:
            ArtifactError, EngineError: as `load_model`.
        """
        folder = self.versions().path(version)
        model = load_model(self._settings, self._engine, folder, beside_traffic, interrupt)
        self._model = model.manifest.name
        return model


def load_model(
    settings: Settings,
    engine: EngineLike | None = None,
    folder: Path | None = None,
    beside_traffic: bool = False,
    interrupt: Interrupt | None = None,
) -> LoadedModel:
    """Read, verify, start and warm an artifact.

    Args:
        settings: where it is, and how it runs.
        engine: used in place of one that is started and tried.
        folder: the artifact, if it is not the highest version of the settings' model.
        beside_traffic: whether this thread, for good, takes what others leave of the processors.
        interrupt: called when nobody waits for the model any more.

    Raises:
        ArtifactError: the folder is not a sound artifact.
        EngineError: the execution provider is not there, or the model cannot start or answer.
    """
    workers, threads = _share_cores(settings)
    if beside_traffic and _starts_no_threads(settings.execution_provider, threads):
        lower_priority()
    artifact, tokenizer = _read(settings, folder)
    if beside_traffic:
        _fault_in(2 * len(artifact.model))
    started = engine or Engine(artifact, settings.execution_provider, threads, interrupt)
    if beside_traffic:
        lower_priority()
    if not settings.engine_workers and started.execution_provider != "cpu":
        workers = 1  # a GPU computes one batch at a time
    model = LoadedModel(
        manifest=artifact.manifest,
        manifest_sha256=artifact.manifest_sha256,
        tokenizer=tokenizer,
        engine=started,
        engine_workers=workers,
        intra_op_num_threads=threads,
        warm_up=started.warm_up(settings.max_batch_size, settings.max_batch_tokens),
    )
    if engine is None:
        _try_out(model)
    return model


def _share_cores(settings: Settings) -> tuple[int, int]:
    """Workers, and threads of each: all CPUs are used and none twice, unless settings say so."""
    quota = cpu_quota()
    workers = settings.engine_workers or quota
    return workers, settings.intra_op_num_threads or max(1, quota // workers)


def _read(settings: Settings, folder: Path | None) -> tuple[Artifact, Tokenizer]:
    artifact = read_artifact(folder or find_versions(settings.model).path())
    return artifact, Tokenizer(artifact.tokenizer, artifact.manifest.max_length)


def _fault_in(size_bytes: int) -> None:
    """Have the system find so much memory, and give it back for the next who asks.

    ONNX Runtime copies a model twice while it holds the GIL. Where that memory is new to a virtual
    machine, all requests stood still for 40 to 55 ms at 4 of 30 swaps of 15 MB; after this at none
    of 20, for 21 ms at the most. (numpy fills without the GIL.)
    """
    np.empty(size_bytes, np.uint8).fill(1)


def _try_out(model: LoadedModel) -> None:
    """Answer a text as a request is answered: what fails each of them is found before there is one.

    Beside it goes the highest id of the tokenizer, since the graph may know fewer.

    Raises:
        EngineError: the model fails on it.
    """
    labels, highest = model.manifest.labels, model.tokenizer.vocab_size - 1
    rows = {
        "a trial text": model.tokenizer.encode(_TRIAL).input_ids,
        f"id {highest}, the highest of its tokenizer": [highest],
    }
    outcomes, _ = compute(model.engine, len(labels), *pad(list(rows.values())))
    for what, outcome in zip(rows, outcomes, strict=True):
        if isinstance(outcome, EngineError):
            raise EngineError(f"the model fails on {what}: {outcome}")
        orjson.dumps(ranked(outcome.probabilities, labels))


def _starts_no_threads(execution_provider: str, threads: int) -> bool:
    """Whether an engine computes on its callers' threads only; its own would inherit a priority."""
    on_cpu = PROVIDERS["cuda"] not in onnxruntime.get_available_providers()
    return threads == 1 and (execution_provider == "cpu" or on_cpu)
