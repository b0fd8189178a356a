"""Which columns of a source are read, and how its files are laid out."""

import codecs
import difflib
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from service.runtime.errors import HeedError

MULTI_LABEL = "several labels a row; this Heed learns one label a row"

# Names that a header has and hardly any row of data: such a first row is asked about.
_HEADINGS = frozenset(
    {"text", "label", "labels", "category", "class", "sentence", "message", "intent", "topic"}
    | {"target", "title", "body", "content", "review", "comment", "id", "question", "sentiment"}
    | {"tag", "query", "document", "utterance", "description", "subject"}
)
_NO_TEXT_CODECS = frozenset({"unicode_escape", "raw_unicode_escape", "idna", "punycode"})


class DataError(HeedError):
    """Input that cannot be used; the message says what, where (file, row) and what was expected."""


@dataclass(frozen=True)
class Columns:
    """Which columns to read, and how the files are laid out; the same for every format.

    Attributes:
        text: columns of the text; several are joined by one space.
        label: column of the label; None reads texts only.
        delimiter: between two cells; None is a comma for .csv, a tab for .tsv.
        header: whether the first row names the columns. None: it does, unless every column
            asked for is a position (0, 1, ...) that the first row does not have as a name.
        quoting: whether cells of CSV and TSV may be quoted. None: in .csv they may, in .tsv not.
        encoding: of the bytes. None: UTF-8, or UTF-16 and UTF-32 if a byte order mark says so.
        format: name of the format (csv, jsonl, ...). None: by the suffix of the file.
        skip_bad: leave out rows that cannot be used, instead of refusing the source.
    """

    text: tuple[str, ...] = ("text",)
    label: str | None = "label"
    delimiter: str | None = None
    header: bool | None = None
    quoting: bool | None = None
    encoding: str | None = None
    format: str | None = None
    skip_bad: bool = False

    def __post_init__(self) -> None:
        """Refuse an encoding that is none of texts, and a column asked for twice."""
        twice = [name for name in self.wanted if self.wanted.count(name) > 1]
        if twice:
            parts = "both as text and as label" if self.label in twice else "twice as text"
            raise DataError(f"column {twice[0]!r} is asked for {parts}")
        if self.encoding is not None and not _is_encoding(self.encoding):
            raise DataError(
                f"unknown encoding {self.encoding!r}; expected utf-8, utf-16, cp1252, latin-1, ..."
            )

    @property
    def wanted(self) -> tuple[str, ...]:
        """The columns asked for."""
        return self.text if self.label is None else (*self.text, self.label)

    def require_in(self, found: Sequence[str], source: str, hint: str = "") -> None:
        """Raise DataError unless each column asked for is found once.

        `hint` says why they may not be found; else it is the option that names a column.
        """
        for name in self.wanted:
            if found.count(name) != 1:
                problem = "more than one column" if name in found else "no column"
                listing = f"columns found: {listed(found)}"
                raise DataError(
                    f"{source}: {problem} {name!r}; {listing}; {hint or self._option(name, found)}"
                )

    def _option(self, name: str, found: Sequence[str]) -> str:
        option = "--label-column" if name == self.label else "--text-column"
        folded = {each.strip().casefold(): each for each in found}
        near = difflib.get_close_matches(name.casefold(), folded, 1)
        if near:
            return f"did you mean {option} {shlex.quote(folded[near[0]])}?"
        others = set(found) - set(self.wanted)
        many = f" (several 0/1 columns, one a label, are {MULTI_LABEL})"
        return f"name it with {option}" + many * (option == "--label-column" and len(others) > 2)

    def named(self, first_row: Sequence[str], source: str) -> tuple[list[str], bool]:
        """The names of the columns, and whether `first_row` is where they stand.

        A column that is asked for by its position is called by it, also if there is a header.

        Raises:
            DataError: only positions are asked for, and `first_row` may be a header or not.
        """
        positions = all(name.isascii() and name.isdigit() for name in self.wanted)
        by_position = positions and not set(self.wanted) <= set(first_row)
        header = not by_position if self.header is None else self.header
        if not header:
            asked = [cell for place, cell in enumerate(first_row) if str(place) in self.wanted]
            if self.header is None and any(_is_heading(cell) for cell in asked):
                raise DataError(
                    f"{source}: the first row ({listed(asked)}) looks like a header; say --header "
                    "if it is, --no-header if it is a row of data"
                )
            return [str(place) for place in range(len(first_row))], False
        names = list(first_row)
        if by_position:
            for name in self.wanted:
                if int(name) < len(names):
                    names[int(name)] = name
        return names, True


def listed(names: Iterable[str], limit: int = 12) -> str:
    """Names in one line; long names and long lists are cut."""
    short = [repr(name if len(name) <= 40 else name[:39] + "…") for name in names]
    more = f" and {len(short) - limit:,} more" if len(short) > limit else ""
    return ", ".join(short[:limit]) + more


def described(cell: Any) -> str:  # noqa: ANN401  any cell of any format
    """What a cell holds, in a few words."""
    return "nothing (null)" if cell is None else f"{type(cell).__name__} {cell!r:.40}"


def _is_encoding(name: str) -> bool:
    try:
        codec = codecs.lookup(name)
    except (LookupError, ValueError):
        return False
    return codec._is_text_encoding and codec.name.replace("-", "_") not in _NO_TEXT_CODECS


def _is_heading(cell: str) -> bool:
    return cell.strip().casefold().replace("_", " ").split(" ")[-1] in _HEADINGS
