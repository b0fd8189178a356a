"""TOML of people, bounded: whatever a file holds, it is read soon or refused in one line."""

import tomllib
from pathlib import Path
from typing import Any

MAX_BYTES = 1_000_000
_MAX_DOTS = 100  # of a name; the parser walks down all parts of a table's name for each of its keys


def read_toml(path: Path) -> dict[str, Any]:
    """What the file at `path` holds.

    Raises:
        OSError: it cannot be read.
        ValueError: see `parse_toml`.
    """
    with path.open("rb") as file:
        return parse_toml(file.read(MAX_BYTES + 1))


def parse_toml(content: bytes) -> dict[str, Any]:
    """The tables of `content`.

    Raises:
        ValueError: says in one line what is wrong; it may quote a name, and never a value.
    """
    if len(content) > MAX_BYTES:
        raise ValueError(f"has more than {MAX_BYTES} bytes")
    for number, line in enumerate(content.splitlines(), 1):
        name = line if line.lstrip().startswith(b"[") else line.partition(b"=")[0]
        if name.count(b".") > _MAX_DOTS:
            raise ValueError(f"line {number} has a name of more than {_MAX_DOTS} parts")
    try:
        return tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from None
    except RecursionError:
        raise ValueError("no TOML: it is nested too deep") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"no TOML: {error}") from None
    except ValueError:
        raise ValueError("no TOML: it has a number of too many digits") from None
