"""What the service wrote on stderr, line by line."""

import json
from typing import Any


def events(log: str, name: str) -> list[dict[str, Any]]:
    """The lines of the event `name`, in order."""
    return [line for line in map(json.loads, log.splitlines()) if line["event"] == name]
