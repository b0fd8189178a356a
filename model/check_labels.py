"""Labels that may not be what their user thinks: ids, numbers, lists, spellings, missing values."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from model.columns import MULTI_LABEL, DataError, listed
from model.data import LabelledTexts
from model.finding import Finding, examples, noted, of_rows
from model.spelling import spelling_key, spellings, spelt_alike

_SEPARATORS = ("|", ";", ",")
_OTHER_SEPARATORS = ("/", "+", "&")  # names have them more often than lists
_LIST = re.compile(r"""\[\s*(?:(['"]).*\1|\d+(?:\s*,\s*\d+)*)?\s*\]""", re.DOTALL)
_DECIMAL_COMMA = re.compile(r"\d+,(?:0|5|25|50|75)")
_NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d*)?(?:e[-+]?\d+)?", re.IGNORECASE)
_DATE = re.compile(r"\d{1,4}([-./])\d{1,2}\1\d{1,4}(?:[T ].*)?")
_MISSING = frozenset(
    {"nan", "none", "null", "nil", "na", "n/a", "n.a.", "#n/a", "<na>", "nat", "undefined"}
    | {"?", "-", "--", "missing", "empty", "blank", '""', "''"}
)
_FEW = 20  # labels: of no more, nobody asks whether they are ids or numbers
_MOST = 0.9  # share of the rows in one class from which accuracy says little
_GROUPS = 10  # of spellings, named in a message


def refuse(train: LabelledTexts) -> None:
    """Raise DataError if the labels are lists of labels, or ids: nothing of use would be learned.

    A separator alone proves nothing, `Food, drink` may be one of five classes: its parts have to be
    labels too, or to recur in more combinations than there are parts.
    """
    counts = Counter(train.labels)
    for label in counts:
        if _LIST.fullmatch(label):
            raise DataError(_several(train, label))
    for separator in _SEPARATORS:
        found = _combined(counts, separator)
        if found:
            raise DataError(_several(train, found))
    if len(counts) > _FEW and len(counts) >= _MOST * len(train):
        raise DataError(f"{train.source}: {_looks_like_ids(len(counts), len(train))}")


def check_known(valid: LabelledTexts, labels: Sequence[str]) -> None:
    """Raise DataError naming the first row of `valid` whose label is not among `labels`."""
    known, chosen = set(labels), spellings(labels)
    for index, label in enumerate(valid.labels):
        if label not in known:
            other = chosen.get(spelling_key(label))
            hint = f"expected one of {listed(labels)}"
            if other:
                hint = f"{other!r} is: --merge-labels makes them one"
            raise DataError(
                f"{valid.source}, row {valid.row(index)}: label {label!r} is not in the training "
                f"rows; {hint}"
            )


def label_findings(
    train: LabelledTexts, others: Mapping[str, LabelledTexts], labels: Sequence[str]
) -> list[Finding]:
    """What to know of the labels of the training rows, and of the other parts against them."""
    counts = Counter(train.labels)
    found = [*_spellings(train, counts), *missing("training", train), *_ids(train, counts)]
    found += [*_joined(train, counts), *_sizes(train, counts)]
    for part, data in others.items():
        found += [*against(part, data, labels), *missing(part, data)]
    return found


def check_evaluated(data: LabelledTexts, labels: Sequence[str]) -> list[Finding]:
    """What to know of rows that a model with `labels` is measured on."""
    part = "evaluated"
    return [*noted(part, data), *against(part, data, labels), *missing(part, data)]


def against(part: str, data: LabelledTexts, labels: Sequence[str]) -> list[Finding]:
    """Rows whose label is none of `labels`, those that are but spelt otherwise apart."""
    known, chosen = set(labels), spellings(labels)
    spelt: list[int] = []
    unseen: list[int] = []
    for index, label in enumerate(data.labels):
        if label not in known:
            (spelt if spelling_key(label) in chosen else unseen).append(index)
    found = []
    if spelt:
        names = list(dict.fromkeys(data.labels[index] for index in spelt))
        pairs = [f"{_short(name)} for {_short(chosen[spelling_key(name)])}" for name in names]
        message = (
            f"{of_rows(part, data, spelt)} have labels that the model spells otherwise, and count "
            f"as wrong: {_first(pairs, ', ')}; --merge-labels makes them one"
        )
        found.append(Finding("spelling", part, len(spelt), examples(data, spelt), message))
    if unseen:
        names = list(dict.fromkeys(data.labels[index] for index in unseen))
        message = (
            f"{of_rows(part, data, unseen)} have labels that no training row has, and count as "
            f"wrong: {listed(names, _GROUPS)}"
        )
        found.append(Finding("unseen", part, len(unseen), examples(data, unseen), message))
    return found


def missing(part: str, data: LabelledTexts) -> list[Finding]:
    """Labels that programs write where there is none."""
    rows = [i for i, label in enumerate(data.labels) if label.strip().lower() in _MISSING]
    if not rows:
        return []
    names = listed(dict.fromkeys(data.labels[row] for row in rows))
    message = (
        f"{of_rows(part, data, rows)} have a label that looks like a missing value: {names}; it is "
        "a class like any other: leave these rows out if it is none"
    )
    return [Finding("missing", part, len(rows), examples(data, rows), message)]


def _spellings(train: LabelledTexts, counts: Mapping[str, int]) -> list[Finding]:
    groups = spelt_alike(counts)
    if not groups:
        return []
    named = [" and ".join(f"{_short(name)} ({counts[name]:,})" for name in g) for g in groups]
    first = train.labels.index(groups[0][1])
    message = (
        f"labels that differ by spelling only, with their training rows: {_first(named, '; ')} "
        f"(row {train.row(first):,} for example); --merge-labels makes each one label"
    )
    rows = (train.labels.index(group[1]) for group in groups)
    return [Finding("spelling", "training", len(groups), examples(train, rows), message)]


def _ids(train: LabelledTexts, counts: Mapping[str, int]) -> list[Finding]:
    """Labels nearly as many as rows, or numbers that are amounts: no class ids, no ratings."""
    if len(counts) <= _FEW:
        return []
    numbers = [label for label in counts if _NUMBER.fullmatch(label) or _DATE.fullmatch(label)]
    whole = {int(label) for label in numbers if label.isascii() and label.isdigit()}
    rows_a_label = len(train) / len(counts)
    dense = bool(whole) and max(whole) - min(whole) < 1.5 * len(whole)
    ids = min(whole) <= 1 if dense else rows_a_label >= 20  # 0 to 76; else codes: 100, 205, 310
    if len(counts) > len(train) / 2:
        message = _looks_like_ids(len(counts), len(train))
    elif len(numbers) >= _MOST * len(counts) and not (
        len(whole) == len(numbers) and ids and rows_a_label >= 5
    ):
        message = (
            f"the labels look like numbers or dates ({len(numbers):,} of them, "
            f"{listed(numbers, 3)}): Heed learns classes, not amounts; ranges (low, middle, high) "
            "can be learned"
        )
    else:
        return []
    return [Finding("id or number", "training", len(counts), examples(train, [0]), message)]


def _sizes(train: LabelledTexts, counts: Counter[str]) -> list[Finding]:
    found = []
    single = sorted(label for label, count in counts.items() if count < 2)
    if single:
        message = f"{len(single):,} classes have fewer than 2 training rows: {listed(single, 10)}"
        rows = examples(train, (train.labels.index(label) for label in single[:3]))
        found.append(Finding("small classes", "training", len(single), rows, message))
    largest, count = counts.most_common(1)[0]
    if count >= _MOST * len(train):
        message = (
            f"{100 * count / len(train):.1f} % of the training rows are {_short(largest)}: always "
            "saying so is right as often; judge by macro-F1 and the rows of the other classes"
        )
        rows = examples(train, [train.labels.index(largest)])
        found.append(Finding("imbalance", "training", count, rows, message))
    return found


def _combined(counts: Mapping[str, int], separator: str) -> str | None:
    """A label that is several, joined by `separator`; None if there is none."""
    parts_of = _parts(counts, separator)
    alone = {spelling_key(label) for label in counts if label not in parts_of}
    enough = all if separator == "," else any  # a comma stands within names too
    for label, parts in parts_of.items():
        if enough(part in alone for part in parts):
            return label
    distinct = {part for parts in parts_of.values() for part in parts}
    recur = len(distinct) < len(parts_of) and 2 * len(parts_of) >= len(counts)
    return next(iter(parts_of)) if recur else None


def _parts(counts: Iterable[str], separator: str) -> dict[str, list[str]]:
    """What `separator` joins in each label that has it; none if those are decimal commas."""
    parts_of = {}
    for label in counts:
        parts = [spelling_key(part) for part in label.split(separator) if part.strip()]
        if len(parts) > 1:
            parts_of[label] = parts
    return {} if all(_DECIMAL_COMMA.fullmatch(label) for label in parts_of) else parts_of


def _joined(train: LabelledTexts, counts: Mapping[str, int]) -> list[Finding]:
    """Labels with a part in common: `sport|football` and `sport|tennis` may be names, or not."""
    for separator in (*_SEPARATORS, *_OTHER_SEPARATORS):
        parts_of = _parts(counts, separator)
        shared = Counter(part for parts in parts_of.values() for part in set(parts))
        if separator in _OTHER_SEPARATORS:  # a part has to be a label: of I/O none is
            alone = {spelling_key(label) for label in counts if label not in parts_of}
            shared = Counter({part: 2 for part in shared if part in alone})
        joined = [label for label, parts in parts_of.items() if any(shared[p] > 1 for p in parts)]
        if joined:
            message = (
                f"{len(joined):,} labels are joined by {separator!r} and share parts: "
                f"{listed(joined, 3)}; each is learned as one class; {MULTI_LABEL}"
            )
            rows = examples(train, (train.labels.index(label) for label in joined[:3]))
            return [Finding("joined", "training", len(joined), rows, message)]
    return []


def _several(train: LabelledTexts, label: str) -> str:
    index = train.labels.index(label)
    return (
        f"{train.source}, row {train.row(index)}: label {_short(label)} looks like {MULTI_LABEL} "
        "(if it is the name of one class, write it without the separator)"
    )


def _looks_like_ids(labels: int, rows: int) -> str:
    return (
        f"{labels:,} labels for {rows:,} rows: the label looks like an id or a number; expected a "
        "few labels that recur (is --label-column right?)"
    )


def _first(items: Sequence[str], between: str) -> str:
    more = f" and {len(items) - _GROUPS:,} more" if len(items) > _GROUPS else ""
    return between.join(items[:_GROUPS]) + more


def _short(name: str) -> str:
    return listed([name])
