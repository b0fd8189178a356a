"""The one look at the data before training: what is in it, and what may spoil the result."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from model.check_labels import label_findings
from model.columns import listed
from model.data import LabelledTexts
from model.duplicates import normalised
from model.figures import CUT_SHARE
from model.finding import Finding, examples, noted, of_rows

_MARKUP_SHARE = 0.1
_JUDGED = 93  # rows: of fewer, the 95 % interval of an accuracy of 50 % is wider than 20 points

# Tags by name: `<user>` and `<3` are no HTML.
_HTML = re.compile(
    r"</?(?:a|b|i|u|p|br|hr|em|li|ol|ul|td|th|tr|h[1-6]|div|img|pre|code|font|span|body|head|html|"
    r"link|meta|style|table|title|center|script|strong|blockquote)(?:\s[^<>]{0,300})?/?>"
    r"|&(?:amp|lt|gt|quot|apos|nbsp|#\d{1,6}|#x[0-9a-f]{1,6});",
    re.IGNORECASE,
)
_QUOTED = re.compile(
    r"^>|-{3,}\s?(?:original message|forwarded message|ursprüngliche nachricht|message d.origine|"
    r"mensaje original)|^(?:on|am|le|el|il) [^\n]{5,200} (?:wrote|schrieb|a écrit|escribió|ha "
    r"scritto)[^\n]{0,100}:\s*$",
    re.IGNORECASE | re.MULTILINE,
)
_MARKUP = {
    "html": (_HTML, "HTML tags or entities"),
    "quoted mail": (_QUOTED, "quoted mail"),
}


def check(
    train: LabelledTexts, others: Mapping[str, LabelledTexts], labels: Sequence[str]
) -> list[Finding]:
    """What is worth knowing before training, the labels first.

    Args:
        train: rows to learn from.
        others: validation and test rows, by the name of the part.
        labels: those that are learned.
    """
    parts = {"training": train, **others}
    said = {part: [normalised(text) for text in data.texts] for part, data in parts.items()}
    found = [finding for part, data in parts.items() for finding in noted(part, data)]
    found += label_findings(train, others, labels)
    found += _repeated(train, said["training"])
    names = list(parts)
    for place, part in enumerate(names[1:], 1):
        for earlier in names[:place]:
            found += _leaked(part, parts[part], said[part], earlier, said[earlier])
    for part, data in parts.items():
        found += markup(part, data)
    for part, data in others.items():
        found += few(part, data)
    return found


def cut(part: str, data: LabelledTexts, lengths: Sequence[int], max_length: int) -> list[Finding]:
    """Texts of more than `max_length` tokens; `lengths` are those before the cut."""
    rows = [index for index, length in enumerate(lengths) if length > max_length]
    if not rows:
        return []
    much = len(rows) > CUT_SHARE * len(data)
    ordered = sorted(lengths)
    enough = -(-ordered[int((1 - CUT_SHARE) * (len(ordered) - 1))] // 64) * 64
    do = f"; [network] max_length = {enough} would hold 95 % of them whole" if much else ""
    message = (
        f"{of_rows(part, data, rows)}, {100 * len(rows) / len(data):.1f} %, are longer than "
        f"{max_length} tokens and are cut: the rest is not read{do}"
    )
    level = "warning" if much else "note"
    return [Finding("cut", part, len(rows), examples(data, rows), message, level)]


def markup(part: str, data: LabelledTexts) -> list[Finding]:
    """HTML or quoted mail in more than a tenth of the rows."""
    found = []
    for kind, (pattern, name) in _MARKUP.items():
        rows = [index for index, text in enumerate(data.texts) if pattern.search(text)]
        if len(rows) > _MARKUP_SHARE * len(data):
            message = (
                f"{of_rows(part, data, rows)} hold {name}: take it out, here and in what is sent "
                "to the service, or see to it that the service gets the same"
            )
            found.append(Finding(kind, part, len(rows), examples(data, rows), message))
    return found


def few(part: str, data: LabelledTexts) -> list[Finding]:
    """Too few rows to judge a model by."""
    if len(data) >= _JUDGED:
        return []
    message = (
        f"{len(data):,} {part} rows are too few to judge by: the true accuracy may be more than 10 "
        "points off; label more rows to measure on"
    )
    return [Finding("few rows", part, len(data), (), message)]


def described(
    train: LabelledTexts, others: Mapping[str, LabelledTexts], findings: Sequence[Finding]
) -> dict[str, Any]:
    """What `data.json` holds: each part with its source, rows and rows of each label; findings."""
    parts = {
        part: {
            "source": data.source,
            "rows": len(data),
            "labels": dict(Counter(data.labels).most_common()),
        }
        for part, data in {"training": train, **others}.items()
    }
    return {"parts": parts, "findings": [asdict(finding) for finding in findings]}


def balance(train: LabelledTexts) -> str:
    """`6 labels, 'HUM' 22.4 % to 'ABBR' 1.6 %`."""
    counts = Counter(train.labels).most_common()
    (largest, most), (smallest, least) = counts[0], counts[-1]
    return (
        f"{len(counts):,} labels, {listed([largest])} {100 * most / len(train):.1f} % to "
        f"{listed([smallest])} {100 * least / len(train):.1f} %"
    )


def _repeated(train: LabelledTexts, said: Sequence[str]) -> list[Finding]:
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, text in enumerate(said):
        rows_of[text].append(row)
    again = sorted(row for rows in rows_of.values() for row in rows[1:])
    found = []
    if again:
        message = (
            f"{of_rows('training', train, again)} repeat an earlier one, but for case, blanks and "
            "punctuation: Heed's own split keeps them together; leave them out if they are copies"
        )
        rows = examples(train, again)
        found.append(Finding("duplicates", "training", len(again), rows, message, "note"))
    unclear = [rows for rows in rows_of.values() if len({train.labels[row] for row in rows}) > 1]
    if unclear:
        first = unclear[0]
        other = next(row for row in first if train.labels[row] != train.labels[first[0]])
        message = (
            f"{len(unclear):,} text{'s' * (len(unclear) > 1)} of the training rows with more than "
            f"one label (rows {train.row(first[0]):,} and {train.row(other):,} for example): "
            "decide on one"
        )
        rows = examples(train, (first[0], other))
        found.append(Finding("contradictions", "training", len(unclear), rows, message))
    return found


def _leaked(
    part: str, data: LabelledTexts, said: Sequence[str], earlier: str, before: Sequence[str]
) -> list[Finding]:
    known = set(before)
    rows = [index for index, text in enumerate(said) if text in known]
    if not rows:
        return []
    message = (
        f"{of_rows(part, data, rows)} repeat a text of the {earlier} rows, but for case, blanks "
        "and punctuation: the figures on them show what was learned by heart; leave them out"
    )
    return [Finding("leakage", part, len(rows), examples(data, rows), message)]
