"""What a request asks for: texts to ids, to probabilities, to answers. Knows no HTTP."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson

from service.batcher import Batcher
from service.encoder import Encoder
from service.errors import DeadlineExceededError
from service.isolation import Output
from service.items import Ticket
from service.loader import LoadedModel
from service.runtime.explain import explain
from service.runtime.postprocess import FEW_LABELS, ranked
from service.runtime.tokenizer import Encoding

_INLINE_LABELS = 64 * FEW_LABELS  # of all texts of a request; more are ranked beside the loop
_EXPLAINED_TEXT = 6  # as many characters is what a text costs by itself
_CHARS_PER_TOKEN = 16  # at most, of what a tokenizer knows


@dataclass(frozen=True, slots=True)
class Classification:
    """The answer for one text; `tokens` counts before truncation.

    `scores` is the JSON of a list of labels and scores, and `words`, only if asked for, that of a
    list of `WordWeight`: written where they are found, as thousands of objects would keep the event
    loop and the garbage collector busy.
    """

    label: str
    score: float
    scores: bytes
    tokens: int
    truncated: bool
    words: bytes | None


class Classifier:
    """Answers for one loaded model."""

    def __init__(
        self,
        model: LoadedModel,
        batcher: Batcher,
        encoder: Encoder,
        on_encoded: Callable[[float, int], None] = lambda tokenize_s, truncated: None,
    ) -> None:
        """Wire it up.

        Args:
            model: gives tokenizer and labels.
            batcher: runs the engine of `model`.
            encoder: tokenises.
            on_encoded: called with the seconds of tokenising a request and its truncated texts.
        """
        self.model = model
        self._batcher = batcher
        self._encoder = encoder
        self._on_encoded = on_encoded
        self._requests = 0
        self._left = asyncio.Event()

    @property
    def queue_depth(self) -> int:
        """Number of texts waiting to be computed."""
        return self._batcher.queue_depth

    @property
    def queue_limit(self) -> int:
        """Number of texts that may wait, by the service time measured so far."""
        return self._batcher.queue_limit

    def check(self, ticket: Ticket) -> None:
        """Refuse a request of which nothing but its headers is known; as `Scheduler.check`."""
        self._batcher.check(ticket)

    async def idle(self) -> None:
        """Return as soon as no request is in it."""
        while self._requests:
            self._left.clear()
            await self._left.wait()

    async def close(self, timeout_s: float) -> None:
        """Compute what was accepted, for `timeout_s` seconds at most, then stop."""
        await self._batcher.close(timeout_s)

    async def classify(
        self,
        texts: Sequence[str],
        ticket: Ticket,
        top_k: int | None = None,
        with_words: bool = False,
    ) -> list[Classification]:
        """Answers for `texts`, in their order.

        Args:
            texts: at least one.
            ticket: priority and deadline.
            top_k: cuts `scores`; all labels if None.
            with_words: whether to say how much each word counted.

        Raises:
            HeedError, EngineError: as `Encoder.encode`, `Batcher.submit` and `Encoder.answer`.
        """
        self._requests += 1
        try:
            return await self._classify(texts, ticket, top_k, with_words)
        finally:
            self._requests -= 1
            self._left.set()

    async def _classify(
        self, texts: Sequence[str], ticket: Ticket, top_k: int | None, with_words: bool
    ) -> list[Classification]:
        started = time.monotonic()
        encodings = await self._encoder.encode(self.model.tokenizer, texts, ticket.deadline)
        truncated = sum(encoding.truncated for encoding in encodings)
        self._on_encoded(time.monotonic() - started, truncated)
        rows = [encoding.input_ids for encoding in encodings]
        outputs = await self._batcher.submit(rows, ticket)

        answers = (
            self._answer(text, encoding, output, top_k, with_words)
            for text, encoding, output in zip(texts, encodings, outputs, strict=True)
        )
        if with_words or len(texts) * len(self.model.manifest.labels) > _INLINE_LABELS:
            works = self._works(texts, encodings, top_k, with_words)
            results = await self._encoder.answer(answers, works, ticket.deadline)
        else:
            results = list(answers)
        if time.monotonic() > ticket.deadline:  # no late answer, also if the loop was busy
            raise DeadlineExceededError("the request was not answered in its time")
        return results

    def _works(
        self,
        texts: Sequence[str],
        encodings: Sequence[Encoding],
        top_k: int | None,
        with_words: bool,
    ) -> list[float]:
        """Microseconds of each answer on a slow machine: characters, or letters if they are more.

        Of a text that was cut only the part that was read counts.
        """
        num_labels = len(self.model.manifest.labels)
        ranking = 0.0
        if num_labels > FEW_LABELS:
            ranking = num_labels / 50 + min(top_k or num_labels, num_labels) / 2
        if not with_words:
            return [ranking] * len(texts)
        works = []
        for text, encoding in zip(texts, encodings, strict=True):
            letters = max(len(text), encoding.num_tokens)
            if encoding.truncated:
                letters = min(letters, _CHARS_PER_TOKEN * len(encoding.input_ids))
            works.append(ranking + _EXPLAINED_TEXT + letters)
        return works

    def _answer(
        self, text: str, encoding: Encoding, output: Output, top_k: int | None, with_words: bool
    ) -> Classification:
        best = ranked(output.probabilities, self.model.manifest.labels, top_k)
        scores = orjson.dumps([{"label": label, "score": score} for label, score in best])
        words = None
        if with_words:
            weights = output.attention[: len(encoding.input_ids)].tolist()
            spans = self.model.tokenizer.spans(text, encoding.input_ids)
            words = orjson.dumps(explain(text, spans, weights))
        return Classification(*best[0], scores, encoding.num_tokens, encoding.truncated, words)
