"""`HEED_` variables that no setting has: most often a slip of the pen, of which nothing would come.

They do not stop the service: Kubernetes gives every container of a namespace with a service `heed`
its `HEED_SERVICE_HOST`, `HEED_PORT_8000_TCP` and others, and other commands have variables too.
"""

import difflib
import re
from collections.abc import Iterable, Mapping

from structlog.typing import FilteringBoundLogger

from service.settings import Settings, is_injected

_KNOWN = tuple(f"HEED_{name.upper()}" for name in Settings.model_fields)
# Of other commands; a harness of tests; and what Kubernetes says of a service.
_OTHER = re.compile(
    r"HEED_(API_KEY|TRACEBACK|FUZZ_CASES|COMPOSE|SERVERS|SERVER_\w+|PROXY_(BIND|STATS))"
    r"|HEED(_\w+)?_SERVICE_(HOST|PORT\w*)|HEED(_\w+)?_PORT(_\d+_(TCP|UDP|SCTP)\w*)"
    r"|HEED_NAME|HEED_ENV_\w+"  # of a container that Docker links
)


def unknown(names: Iterable[str]) -> dict[str, str | None]:
    """Those of `names` that look like settings but are none; with the one that may be meant."""
    found = {}
    for name in map(str.upper, names):
        if name.startswith("HEED_") and name not in _KNOWN and not _OTHER.fullmatch(name):
            found[name] = next(iter(difflib.get_close_matches(name, _KNOWN, 1, 0.8)), None)
    return found


def warn_if_unknown(environment: Mapping[str, str], logger: FilteringBoundLogger) -> None:
    """A line for each of `unknown`, one for settings that an orchestrator took; never a value."""
    injected = [name for name, value in environment.items() if is_injected(name, value)]
    taken = sorted({*map(str.upper, injected)} & {*_KNOWN})
    if taken:
        detail = "holds the address of a service of that name: not set by people, so not read"
        logger.warning("injected_setting", names=taken, detail=detail)
    for name, meant in unknown(environment.keys() - injected).items():
        logger.warning("unknown_setting", name=name, meant=meant)
