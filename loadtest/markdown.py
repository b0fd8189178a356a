"""A result as Markdown, for the summary of a GitHub Actions step. Pure."""

import re
from collections.abc import Iterable, Sequence

from loadtest import figures
from loadtest.facts import facts, notes
from loadtest.result import Result
from loadtest.row import row

EMOJI = {
    "pass": "✅",
    "warn": "⚠️",
    "fail": "❌",
    "regression": "❌",
    "inconclusive": "❔",
    "invalid": "🚫",
}


def to_markdown(result: Result) -> str:
    """Verdict, objectives, conditions and figures; no longer than a screen or two."""
    blocks = [_title(result), _text(figures.sentence(result))]
    blocks += [f"> {_text(note)}" for note in notes(result)]
    blocks += [_objectives(result), _capacity(result), _conditions(result), _figures(result)]
    run = "\n".join(f"- {name}: {_text(value)}" for name, value in facts(result).items())
    blocks.append(f"<details><summary>Run</summary>\n\n{run}\n\n</details>")
    return "\n\n".join(block for block in blocks if block) + "\n"


def _title(result: Result) -> str:
    if result.verdict is None:
        return f"## {figures.TITLES[result.command]}"
    outcome = result.verdict.outcome
    return f"## {EMOJI[outcome]} {figures.TITLES[result.command]}: {outcome}"


def _objectives(result: Result) -> str:
    rows = []
    for found in map(row, figures.judgements(result)):
        outcome = f"{EMOJI[found.outcome]} {found.outcome}"
        detail = f" ({found.detail.rstrip('.')})" if found.detail else ""
        rows.append([*found[:5], outcome + detail])
    head = ["objective", "measured", figures.interval_name(result), "limit", "samples", "outcome"]
    return _table(head, rows, numbers=range(1, 5))


def _capacity(result: Result) -> str:
    if result.capacity is None:
        return ""
    rows = [
        [figures.overload_name(each), figures.overload_words(each)]
        for each in result.capacity.overload
    ]
    return _table(["overload", "what came of it"], rows)


def _conditions(result: Result) -> str:
    checks = result.verdict.checks if result.verdict else []
    rows = [
        [check.name, check.measured, check.limit, "✅ ok" if check.ok else f"🚫 {check.advice}"]
        for check in checks
    ]
    return _table(["condition", "measured", "limit", "outcome"], rows)


def _figures(result: Result) -> str:
    """One row for each scenario."""
    tiles = {name: figures.headline(stages) for name, stages in figures.sections(result).items()}
    if not tiles:
        return ""
    head = ["", *(tile.name for tile in next(iter(tiles.values())))]
    rows = [[name, *(tile.value for tile in some)] for name, some in tiles.items()]
    return _table(head, rows, numbers=range(1, len(head)))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()) -> str:
    lines = ["| " + " | ".join(map(_text, cells)) + " |" for cells in rows]
    if not lines:
        return ""
    right = set(numbers)
    rule = "|" + "|".join("---:" if i in right else "---" for i in range(len(head))) + "|"
    return "\n".join(["| " + " | ".join(head) + " |", rule, *lines])


def _text(text: str) -> str:
    """On one line, with every character that Markdown or HTML would act on taken literally."""
    line = " ".join(text.split())
    escaped = re.sub(r"([\\`*_\[\]|#~])", r"\\\1", line)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
