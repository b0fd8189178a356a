"""Which host names a port answers to.

A page in a browser may have its own name resolve to our address (DNS rebinding) and then passes for
a page of ours: it needs no leave from `cors_origins`, and a firewall in front of the browser does
not help. What it cannot do is send another Host than its own name. So a port that no key guards
takes only names that no stranger can own: addresses, `localhost`, and those that were listed.
"""

import functools
import ipaddress
import re
from collections.abc import Collection
from typing import Self

from service.http.refusals import Refusal
from service.networks import is_loopback
from service.settings import Settings

_AUTHORITY = re.compile(rb"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{0,5}))?")
ANY = "*"


class Hosts:
    """The names of one port."""

    def __init__(self, names: Collection[str] = (ANY,), *, single_labels: bool = False) -> None:
        """Take `names` beside `localhost` and addresses; all if `ANY` is one of them.

        Args:
            names: without ports.
            single_labels: also names without a dot, such as `heed` in a network of containers:
                nobody can own one in the public DNS.
        """
        self._names = frozenset(map(_plain, names))
        self._single_labels = single_labels
        self.refusal = functools.lru_cache(256)(self._refusal)  # 60 ns; what it saves takes 1 us

    @classmethod
    def of_public(cls, settings: Settings) -> Self:
        """Those that are set. Else any, if there are keys, a proxy, or more than loopback.

        In these cases whoever set it up has chosen who comes in, under names that we cannot know.
        """
        if settings.hosts:
            return cls(settings.hosts)
        chosen = settings.api_keys_file is not None or settings.trusted_proxies
        if chosen or not is_loopback(settings.host):
            return cls()
        return cls((), single_labels=True)

    @classmethod
    def of_admin(cls, settings: Settings) -> Self:
        """Those that are set, and the name it listens on."""
        return cls((*settings.hosts, settings.admin_host))

    def _refusal(self, authority: bytes) -> Refusal | None:
        """What is wrong with a Host, or the authority of a request target; None if nothing is.

        Empty is what clients of a target without a name send; a browser never does.
        """
        if not authority:
            return None
        match = _AUTHORITY.fullmatch(authority)
        if match is None or int(match[2] or 0) > 65_535:
            return Refusal.MALFORMED
        name = _plain(match[1].decode())
        if name.startswith("[") and not _is_address(name[1:-1]):
            return Refusal.MALFORMED
        return None if self._allows(name) else Refusal.HOST

    def _allows(self, name: str) -> bool:
        return (
            ANY in self._names
            or name in self._names
            or name.rpartition(".")[2] == "localhost"  # RFC 6761: it is this machine
            or _is_address(name.strip("[]"))
            or (self._single_labels and "." not in name)
        )


def _plain(name: str) -> str:
    return name.lower().removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
