"""JSON as RFC 8259 has it, for files that two programs must take alike. Standard library only."""

import json
import math
from typing import Any, NoReturn


def parse_json(text: str | bytes) -> Any:  # noqa: ANN401  JSON is anything
    """The value of `text`.

    What Python's own parser lets through is refused: NaN and Infinity, numbers too large for a
    float, a name twice in one object (readers differ in which of both they take), half a surrogate
    pair (JSON, but no text: it cannot be sent), bytes in another encoding than UTF-8.

    Raises:
        ValueError: says in one line what is wrong.
    """
    try:
        value = json.loads(
            text.decode() if isinstance(text, bytes) else text,
            object_pairs_hook=_object,
            parse_constant=_refuse,
            parse_float=_number,
        )
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} is there twice in one object")
    return members


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def _number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:20]} is too large a number")
    return value
