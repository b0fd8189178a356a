"""A model in memory: read, verified, started, warm."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import onnxruntime

from service.runtime.artifact import (
    ArtifactError,
    Manifest,
    check_name,
    find_artifact,
    list_versions,
    read_artifact,
    read_manifest,
)
from service.runtime.cpu import cpu_quota, lower_priority
from service.runtime.engine import PROVIDERS, Engine, EngineOutput
from service.runtime.tokenizer import Int64Array, Tokenizer
from service.settings import Settings


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

    def versions(self) -> list[str]:
        """What could be loaded, the highest last.

        Raises:
            ArtifactError: the folder is not there, or its manifest cannot be read.
        """
        folder = find_artifact(self._settings.model)
        if folder == self._settings.model:
            return [read_manifest(folder).version]
        return list_versions(self._settings.model)

    def load(self, version: str | None = None, beside_traffic: bool = False) -> LoadedModel:
        """Read, verify, start and warm a version; the highest if none is named.

        Args:
            version: a folder right below the settings' model, unless that is an artifact itself.
            beside_traffic: whether requests go first; the priority of this thread is lowered.

        Raises:
            ArtifactError, EngineError: as `load_model`.
        """
        folder = find_artifact(self._settings.model)
        if version is not None and folder != self._settings.model:
            folder = self._settings.model / check_name("version", version)
        return load_model(self._settings, self._engine, folder, beside_traffic)


def load_model(
    settings: Settings,
    engine: EngineLike | None = None,
    folder: Path | None = None,
    beside_traffic: bool = False,
) -> LoadedModel:
    """Read, verify, start and warm an artifact.

    Args:
        settings: where it is, and how it runs.
        engine: used in place of one that is started.
        folder: the artifact, if it is not the highest version of the settings' model.
        beside_traffic: whether to take only what other threads leave of the processors, from now on
            for as long as this thread lives.

    Raises:
        ArtifactError: the folder is not a sound artifact, or is named after another version.
        EngineError: the execution provider is not there, or the model did not start on it.
    """
    quota = cpu_quota()
    workers = settings.engine_workers or quota
    threads = settings.intra_op_num_threads or max(1, quota // workers)
    if beside_traffic and _starts_no_threads(settings.execution_provider, threads):
        lower_priority()
    artifact = read_artifact(folder or find_artifact(settings.model))
    version = artifact.manifest.version
    if artifact.path != settings.model and artifact.path.name != version:
        raise ArtifactError(
            f"{artifact.path}: holds version {version}; expected a folder named {version}"
        )
    if engine is None:
        engine = Engine(artifact, settings.execution_provider, threads)
    if beside_traffic:
        lower_priority()
    if not settings.engine_workers and engine.execution_provider != "cpu":
        workers = 1  # a GPU computes one batch at a time
    warm_up = engine.warm_up(settings.max_batch_size, settings.max_batch_tokens)
    return LoadedModel(
        manifest=artifact.manifest,
        manifest_sha256=artifact.manifest_sha256,
        tokenizer=Tokenizer(artifact.tokenizer, artifact.manifest.max_length),
        engine=engine,
        engine_workers=workers,
        intra_op_num_threads=threads,
        warm_up=warm_up,
    )


def _starts_no_threads(execution_provider: str, threads: int) -> bool:
    """Whether an engine computes on its callers' threads only; its own would inherit a priority."""
    on_cpu = PROVIDERS["cuda"] not in onnxruntime.get_available_providers()
    return threads == 1 and (execution_provider == "cpu" or on_cpu)
