"""Texts of others on a terminal: labels, paths, cells, column names and what servers send.

A terminal obeys what it is shown: ESC moves the cursor, sets titles and links, CR overwrites the
line, bidi controls reorder it. `safe` spells these as JSON does, so what it makes of JSON is the
same JSON. `guard` closes the streams of a process for whatever writes to them: messages of
libraries, usage errors, tracebacks. Colours go by `service.runtime.terminal` only.
"""

import re
from typing import Any, TextIO

# C0, DEL, C1; bidi marks, embeddings, overrides and isolates; line and paragraph separators;
# invisible joints of annotations and of the byte order mark; halves of surrogate pairs.
_CLASS = "\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
_IN_A_LINE = re.compile(f"[\0-\x1f{_CLASS}]")
_IN_A_TEXT = re.compile(f"[\0-\x08\x0b-\x1f{_CLASS}]")
_SHORT = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}


def safe(text: str) -> str:
    """On one line, with all that a terminal would obey spelled out, ESC as `u001b` say."""
    return _IN_A_LINE.sub(_spelled, text)


def safe_lines(text: str) -> str:
    """As `safe`, but tabs and line breaks stay."""
    return _IN_A_TEXT.sub(_spelled, text)


def _spelled(found: re.Match[str]) -> str:
    return _SHORT.get(found[0]) or f"\\u{ord(found[0]):04x}"


class _Guarded:
    """A text stream whose every text is safe; all else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = stream  # rich's name: its Console writes there, in colours

    def write(self, text: str) -> int:
        self.rich_proxied_file.write(safe_lines(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  whatever a stream has
        return getattr(self.rich_proxied_file, name)


def guard(stream: TextIO) -> TextIO:
    """`stream`, or None of a closed one, such that nothing written to it commands a terminal."""
    done = stream is None or isinstance(stream, _Guarded)
    return stream if done else _Guarded(stream)  # type: ignore[return-value]  # by its methods it is
