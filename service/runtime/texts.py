"""What may be classified: one rule for HTTP and for Python."""

import re
from collections.abc import Iterable, Mapping, Set
from numbers import Integral

_HALF = re.compile("[\ud800-\udfff]")
_HINTS: dict[type, str] = {str: "pass a list: [text]", bytes: "pass a list: [text.decode()]"}


def objection(text: str, max_chars: int | None = None) -> str | None:
    """Why `text` is not classified, to stand behind its place; None if it is.

    Args:
        text: of whole characters: what a service decodes holds no half of a surrogate pair.
        max_chars: of a service; without, texts of any length are cut at the tokens the model reads.
    """
    if max_chars is not None and len(text) > max_chars:  # first, as the others read the text
        return f"has {len(text)} characters, at most {max_chars} are allowed"
    if not text or text.isspace():
        return "is empty"
    if "\0" in text:
        return "holds a NUL character"
    return None


def listed_texts(texts: object) -> list[str]:
    """Any ordered iterable of strings (a list, a Series, an array, a generator) as a list.

    Raises:
        TypeError: it is a table, a mapping, a set, one string, or holds what is no string.
        ValueError: a text is empty or holds a NUL character or half a surrogate pair.
    """
    kind = type(texts).__name__
    if hasattr(texts, "columns") or hasattr(texts, "column_names") or isinstance(texts, Mapping):
        raise TypeError(f'texts must be strings, got a {kind}; pass one column: data["text"]')
    if isinstance(texts, str | bytes | bytearray | Set) or not isinstance(texts, Iterable):
        hint = _HINTS.get(type(texts), "pass a list")
        raise TypeError(f"texts must be a list of strings, got one {kind}; {hint}")
    rows = list(texts)
    for index, text in enumerate(rows):
        if not isinstance(text, str):
            raise TypeError(f"texts[{index}] is a {type(text).__name__}; expected a string")
        problem = objection(text)
        if problem or _HALF.search(text):
            problem = problem or "holds half a surrogate pair"
            raise ValueError(f"texts[{index}]: {problem}")
    return rows


def check_top_k(top_k: int | None) -> None:
    """Raise ValueError unless it is None or 1 or more; above the labels it cuts nothing."""
    number = isinstance(top_k, Integral) and not isinstance(top_k, bool)
    if top_k is not None and (not number or top_k < 1):
        raise ValueError(f"top_k is {top_k!r}; expected an integer of 1 or more, or None for all")
