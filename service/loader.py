"""A model in memory: read, verified, started, warm."""

from dataclasses import dataclass
from typing import Protocol

from service.runtime.artifact import Manifest, find_artifact, read_artifact
from service.runtime.cpu import cpu_quota
from service.runtime.engine import Engine, EngineOutput
from service.runtime.tokenizer import Int64Array, Tokenizer
from service.settings import Settings


class EngineLike(Protocol):
    """What the service uses of `Engine`; tests bring their own."""

    execution_provider: str

    def run(self, input_ids: Int64Array, attention_mask: Int64Array) -> EngineOutput:
        """See `Engine.run`."""

    def warm_up(self, max_batch_size: int, max_batch_tokens: int) -> None:
        """See `Engine.warm_up`."""


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A version of a model, ready to answer."""

    manifest: Manifest
    manifest_sha256: str
    tokenizer: Tokenizer
    engine: EngineLike
    engine_workers: int
    intra_op_num_threads: int


def load_model(settings: Settings, engine: EngineLike | None = None) -> LoadedModel:
    """Read, verify, start and warm the model of the settings.

    Args:
        settings: where it is, and how it runs.
        engine: used in place of one that is started.

    Raises:
        ArtifactError: the folder is not a sound artifact.
        EngineError: the execution provider is not there, or the model did not start on it.
    """
    artifact = read_artifact(find_artifact(settings.model))
    quota = cpu_quota()
    workers = settings.engine_workers or quota
    threads = settings.intra_op_num_threads or max(1, quota // workers)
    if engine is None:
        engine = Engine(artifact, settings.execution_provider, threads)
    if not settings.engine_workers and engine.execution_provider != "cpu":
        workers = 1  # a GPU computes one batch at a time
    engine.warm_up(settings.max_batch_size, settings.max_batch_tokens)
    return LoadedModel(
        manifest=artifact.manifest,
        manifest_sha256=artifact.manifest_sha256,
        tokenizer=Tokenizer(artifact.tokenizer, artifact.manifest.max_length),
        engine=engine,
        engine_workers=workers,
        intra_op_num_threads=threads,
    )
