"""How long texts are: learned from a user's own data, of which no text is kept, and made again."""

import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate

from loadtest.texts import read_texts

POINTS = 101  # quantiles that are learned: the shortest, each hundredth, the top

_WORKLOAD = """\
# Text lengths like those of {source}, of which no text is kept.
# What is sent is made of the words of Heed's built-in messages.
arrivals = "poisson"    # or "constant"
seed = 7                # equal seeds send equal texts at equal times
timeout = "10s"         # counted from when a request was due
warm_up = "5s"          # load before it, not measured

[texts]
# Characters at each hundredth of the texts, from the shortest up: half of all texts have at most
# {median:,}. The last one keeps the top hundredth as long on average as in the data; the single
# longest text may have been longer.
lengths = [
{lengths}
]

[mix]                   # shares of the requests, together 1
single = 1.0
batch = 0.0
explain = 0.0
batch_size = 16         # texts in a batch

[[stages]]
name = "steady"
rate = {rate}         # requests per second
duration = "{duration}"
"""


def learn(texts: Iterable[str]) -> list[int]:
    """Lengths at each hundredth of some texts: `POINTS` ascending numbers of characters.

    Only counts are held, so the texts may stream from a file of any size. All values but the last
    are quantiles by nearest rank. The last would be the longest text; then one enormous text in a
    million would make each hundredth of those sent enormous, as lengths between the last two
    values are drawn from a straight line. So it is lowered until the mean of that line is the mean
    of the top hundredth.

    Raises:
        ValueError: there is no text.
    """
    counts = Counter(map(len, texts))
    if not counts:
        raise ValueError("no texts to learn lengths from")
    values = sorted(counts)
    below = list(accumulate(counts[value] for value in values))  # texts of at most that length
    last = below[-1] - 1
    ranks = [round(k * last / (POINTS - 1)) for k in range(POINTS)]
    lengths = [values[bisect_left(below, rank + 1)] for rank in ranks]
    if top := last - ranks[-2]:  # texts above the 99th hundredth
        tops = (
            min(counts[v], max(0, b - 1 - ranks[-2])) for v, b in zip(values, below, strict=True)
        )
        mean = sum(v * count for v, count in zip(values, tops, strict=True)) / top
        lengths[-1] = min(lengths[-1], max(lengths[-2], round(2 * mean) - lengths[-2]))
    return lengths


def synthesise(lengths: Sequence[int], rng: random.Random, count: int) -> list[str]:
    """Texts whose lengths lie on the distribution as evenly as so many can, in random order.

    Args:
        lengths: as `learn` gives them, or any ascending quantiles at equal steps.
        rng: decides words and order.
        count: of texts; the k-th shortest, from 0, has the length `quantile((k + 0.5) / count)`,
            or one less where that would be a blank at its end.
    """
    words = " ".join(read_texts()).split()
    texts = [_text(quantile(lengths, (k + 0.5) / count), words, rng) for k in range(count)]
    rng.shuffle(texts)
    return texts


def quantile(lengths: Sequence[int], fraction: float) -> int:
    """Characters, at least 1, that `fraction` of the texts do not exceed; linear in between.

    Args:
        lengths: at least two ascending quantiles at equal steps.
        fraction: 0 to 1.
    """
    place = fraction * (len(lengths) - 1)
    left = min(int(place), len(lengths) - 2)
    return max(1, round(lengths[left] + (place - left) * (lengths[left + 1] - lengths[left])))


def describe(lengths: Sequence[int]) -> list[tuple[str, int]]:
    """Rows to show: a name, and characters."""
    parts = {"shortest": 0.0, "p50": 0.5, "p95": 0.95, "p99": 0.99, "longest sent": 1.0}
    return [(name, quantile(lengths, fraction)) for name, fraction in parts.items()]


def to_toml(lengths: Sequence[int], rate: float, source: str, duration: str = "60s") -> str:
    """A commented workload file that `workload.load_workload` reads.

    Args:
        lengths: as `learn` gives them.
        rate: requests per second.
        source: where the lengths are from, for the first comment.
        duration: of its one stage, as `durations.parse_duration` reads it.
    """
    rows = [lengths[start : start + 10] for start in range(0, len(lengths), 10)]
    return _WORKLOAD.format(
        source="".join(c if c.isprintable() else "?" for c in source),
        median=quantile(lengths, 0.5),
        lengths="\n".join("  " + " ".join(f"{length}," for length in row) for row in rows),
        rate=repr(float(rate)).removesuffix(".0"),
        duration=duration,
    )


def _text(length: int, words: Sequence[str], rng: random.Random) -> str:
    text = ""
    while len(text) < length:
        text += " ".join(rng.choices(words, k=length // 4 + 1)) + " "
    return text[:length].rstrip()
