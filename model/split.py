"""Holds rows out of the training rows, to validate on."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from model.data import LabelledTexts
from model.duplicates import numbered


def hold_out(
    data: LabelledTexts, fraction: float, seed: int
) -> tuple[LabelledTexts, LabelledTexts]:
    """Split into the rows to train on and about `fraction` of them held out, class by class.

    Texts that say the same (`model.duplicates`) stay together, else validation would measure what
    was learned by heart. Each class keeps rows to train on, those of the text that it has most of,
    so a class of one text is never held out. At least one row is held out if a class has two texts.
    Both parts keep the order of `data`.

    Args:
        data: the rows to split.
        fraction: of the rows to hold out, above 0 and below 1.
        seed: which rows are held out; the same seed holds out the same rows.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction to hold out is {fraction}; expected above 0 and below 1")
    rows_of: dict[int, list[int]] = defaultdict(list)
    for row, group in enumerate(numbered(data.texts)):
        rows_of[group].append(row)
    groups = list(rows_of.values())
    count = max(1, round(fraction * len(data)))
    held: set[int] = set()
    ranked = _ranked(groups, data.labels, random.Random(seed))  # noqa: S311 - hides nothing
    for rows in ranked:
        if len(held) + len(rows) <= count:
            held.update(rows)
    if not held and ranked:
        held.update(sorted(ranked, key=len)[0])
    kept = [row for row in range(len(data)) if row not in held]
    return data.subset(kept), replace(data.subset(sorted(held)), notes=())  # train has them


def _ranked(
    groups: Sequence[list[int]], labels: Sequence[str], generator: random.Random
) -> list[list[int]]:
    """The groups that may be held out, in an order whose beginnings are stratified."""
    members_of: dict[str, list[list[int]]] = defaultdict(list)
    for rows in groups:
        main = Counter(labels[row] for row in rows).most_common(1)[0][0]
        members_of[main].append(rows)
    ranked: list[tuple[float, float, list[int]]] = []
    served: set[str] = set()
    for members in members_of.values():
        generator.shuffle(members)
        kept = max(reversed(members), key=len)
        served.update(labels[row] for row in kept)
        total, before = sum(map(len, members)), 0
        for rows in members:  # of a class, evenly between 0 and 1: below `fraction` is its share
            if rows is not kept:
                place = (before + len(rows) / 2) / total
                ranked.append((place, generator.random(), rows))
            before += len(rows)
    free = []
    for *_, rows in sorted(ranked, reverse=True):
        found = {labels[row] for row in rows}
        if found <= served:
            free.append(rows)
        served |= found  # a class whose texts all have another label more often keeps one here
    return free[::-1]
