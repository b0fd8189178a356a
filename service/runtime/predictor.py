"""An artifact as a Python object: what notebooks, evaluation, export and files in bulk use."""

from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from service.runtime.artifact import read_artifact
from service.runtime.cpu import cpu_quota
from service.runtime.engine import Engine
from service.runtime.postprocess import Float32Array, ranked, softmax
from service.runtime.texts import check_top_k, listed_texts
from service.runtime.tokenizer import Tokenizer, batches_by_length, pad
from service.runtime.versions import find_versions

MAX_BATCH_TOKENS = 512  # padded; larger ones are slower on CPU, see benchmarks/predictor.py


@dataclass(frozen=True)
class Prediction:
    """The best label of a text, its probability, and all labels with theirs, falling."""

    label: str
    score: float
    scores: tuple[tuple[str, float], ...]
    tokens: int
    truncated: bool


class Predictor:
    """Classifies texts in this process.

    Example:
        >>> Predictor("artifacts/support").predict(["where is my card?"])[0].label  # doctest: +SKIP
        'card_arrival'
    """

    def __init__(self, path: Path | str, execution_provider: str = "auto") -> None:
        """Load an artifact, or the highest version in a folder of versions.

        Raises:
            ArtifactError: there is no sound artifact, or it is not clear which is meant.
            EngineError: the execution provider is not there.
        """
        artifact = read_artifact(find_versions(path).path())
        self.manifest = artifact.manifest
        self.tokenizer = Tokenizer(artifact.tokenizer, artifact.manifest.max_length)
        self.engine = Engine(artifact, execution_provider)
        self._workers = cpu_quota()

    def logits(
        self, rows: Sequence[Sequence[int]], max_batch_tokens: int = MAX_BATCH_TOKENS
    ) -> Float32Array:
        """(N, C) logits of N rows of ids, in their order; computed in batches of like length."""
        logits = np.empty((len(rows), self.engine.num_labels), dtype=np.float32)

        def run(batch: list[int]) -> None:
            logits[batch] = self.engine.run(*pad([rows[index] for index in batch])).logits

        batches = batches_by_length(list(map(len, rows)), max_batch_tokens)
        # Two threads of one beat one of two by 1.3 to 2 times; `run` leaves the GIL to the others.
        with ThreadPoolExecutor(self._workers) as pool:
            deque(pool.map(run, batches), maxlen=0)
        return logits

    def predict(self, texts: Iterable[str], top_k: int | None = None) -> list[Prediction]:
        """Labels of `texts`, in their order; `top_k` cuts `scores`.

        The rules of the service, but that a text may be of any length: `truncated` says what was
        not read.

        Raises:
            TypeError: `texts` is one string or a table, or one of them is no string.
            ValueError: one of them is empty or holds a NUL or half a surrogate pair; `top_k` < 1.
        """
        check_top_k(top_k)
        encodings = [self.tokenizer.encode(text) for text in listed_texts(texts)]
        probabilities = softmax(self.logits([encoding.input_ids for encoding in encodings]))
        predictions = []
        for encoding, row in zip(encodings, probabilities, strict=True):
            scores = tuple(ranked(row, self.manifest.labels, top_k))
            predictions.append(
                Prediction(*scores[0], scores, encoding.num_tokens, encoding.truncated)
            )
        return predictions
