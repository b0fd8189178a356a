"""How an accuracy is shown, everywhere: with its interval, and what a constant answer would get."""

from collections.abc import Mapping
from typing import Any

CUT_SHARE = 0.05  # of the texts: so many are worth a warning
_SHOWN = 5  # classes named in a line
_WIDE = 0.2  # of an interval: with that nobody can tell a good model from a poor one


def accuracy_text(figures: Mapping[str, Any]) -> str:
    """`accuracy 84.9 % (95 % CI 80.9 to 88.3; always 'fees': 8.5 %)`, as much as is known."""
    text = f"accuracy {100 * figures['accuracy']:.1f} %"
    if "accuracy_low" not in figures:  # of an artifact that an earlier Heed wrote
        return text
    label = figures.get("majority_label")
    always = "the largest class" if label is None else repr(label)
    share = f"always {always}: {100 * figures['majority']:.1f} %"
    return f"{text} ({interval_text(figures)}; {share})"


def summary(figures: Mapping[str, Any]) -> str:
    """The figures of a part in one line; `remarks` has what must be known beside."""
    return (
        f"{accuracy_text(figures)}, macro-F1 {100 * figures['macro_f1']:.1f} %, "
        f"ECE {100 * figures['ece']:.1f} %, n = {figures['n']:,}"
    )


def interval_text(figures: Mapping[str, Any]) -> str:
    """`95 % CI 80.9 to 88.3`."""
    return f"95 % CI {100 * figures['accuracy_low']:.1f} to {100 * figures['accuracy_high']:.1f}"


def remarks(figures: Mapping[str, Any]) -> list[str]:
    """What else must be known to judge the accuracy, a line each; none for most models."""
    lines = []
    if figures.get("accuracy_high", 0.0) - figures.get("accuracy_low", 0.0) > _WIDE:
        lines.append(
            f"too few rows to judge: with n = {figures['n']:,} any accuracy from "
            f"{100 * figures['accuracy_low']:.0f} to {100 * figures['accuracy_high']:.0f} % fits"
        )
    cut = figures.get("truncated", 0)
    if cut > CUT_SHARE * figures["n"]:
        lines.append(
            f"{cut:,} of {figures['n']:,} texts were longer than the model reads and were cut: a "
            "larger [network] max_length would read them"
        )
    never = figures.get("never_predicted")
    if never:
        lines.append(f"never predicts: {_counted(never)}")
    unseen = figures.get("unseen_labels")
    if unseen and sum(unseen.values()) == figures["n"]:
        lines.append(f"no row has a label that training saw, but {_counted(unseen)}")
    elif unseen:
        lines.append(f"labels that training never saw count as wrong: {_counted(unseen)}")
    return lines


def _counted(rows_of: Mapping[str, int]) -> str:
    """`'fraud' (12 rows), 'loan' (1 row)`."""
    names = [
        f"{label[:40]!r} ({rows:,} row{'s' if rows != 1 else ''})"
        for label, rows in list(rows_of.items())[:_SHOWN]
    ]
    more = f" and {len(rows_of) - _SHOWN:,} more" if len(rows_of) > _SHOWN else ""
    return ", ".join(names) + more
