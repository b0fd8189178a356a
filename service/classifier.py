"""What a request asks for: texts to ids, to probabilities, to answers. Knows no HTTP."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.batcher import Batcher, Output
from service.loader import LoadedModel
from service.runtime.explain import WordWeight, explain
from service.runtime.postprocess import ranked
from service.runtime.tokenizer import Encoding


@dataclass(frozen=True, slots=True)
class Classification:
    """The answer for one text; `words` only if asked for. `tokens` counts before truncation."""

    label: str
    score: float
    scores: list[tuple[str, float]]
    tokens: int
    truncated: bool
    words: list[WordWeight] | None


class Classifier:
    """Answers for one loaded model."""

    def __init__(
        self,
        model: LoadedModel,
        batcher: Batcher,
        timeout_s: float,
        on_encoded: Callable[[float, int], None] = lambda tokenize_s, truncated: None,
    ) -> None:
        """Wire it up.

        Args:
            model: gives tokenizer and labels.
            batcher: runs the engine of `model`.
            timeout_s: how long a request may wait to be computed, in seconds.
            on_encoded: called with the seconds of tokenising a request and its truncated texts.
        """
        self.model = model
        self._batcher = batcher
        self._timeout_s = timeout_s
        self._on_encoded = on_encoded

    @property
    def queue_depth(self) -> int:
        """Number of texts waiting to be computed."""
        return self._batcher.queue_depth

    async def classify(
        self, texts: Sequence[str], top_k: int | None = None, with_words: bool = False
    ) -> list[Classification]:
        """Answers for `texts`, in their order.

        Args:
            texts: at least one.
            top_k: cuts `scores`; all labels if None.
            with_words: whether to say how much each word counted.

        Raises:
            HeedError, EngineError: as `Batcher.submit`.
        """
        # On the event loop: 11 us a text is less than the hop to a thread and back would cost.
        started = time.perf_counter()
        tokenizer = self.model.tokenizer
        encodings = [tokenizer.encode(text) for text in texts]
        truncated = sum(encoding.truncated for encoding in encodings)
        self._on_encoded(time.perf_counter() - started, truncated)
        rows = [encoding.input_ids for encoding in encodings]
        outputs = await self._batcher.submit(rows, self._timeout_s)
        return [
            self._answer(text, encoding, output, top_k, with_words)
            for text, encoding, output in zip(texts, encodings, outputs, strict=True)
        ]

    def _answer(
        self, text: str, encoding: Encoding, output: Output, top_k: int | None, with_words: bool
    ) -> Classification:
        scores = ranked(output.probabilities, self.model.manifest.labels, top_k)
        words = None
        if with_words:
            weights = output.attention[: len(encoding.input_ids)].tolist()
            words = explain(text, self.model.tokenizer.spans(text), weights)
        return Classification(*scores[0], scores, encoding.num_tokens, encoding.truncated, words)
