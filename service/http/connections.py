"""Which connections are open, and whether one more may be."""

import resource
from collections import Counter
from collections.abc import Iterator
from typing import Protocol, Self

from service.http.peers import Peers
from service.http.refusals import Refusal
from service.networks import parse_networks
from service.settings import Settings

# Descriptors for everything else: 30 are open when a model is served, and whoever is refused holds
# one for a moment.
_RESERVED_FILES = 48
_ADMIN_CONNECTIONS = 32


def connection_limit(max_connections: int, max_open_files: int | None = None) -> int:
    """`max_connections`, or fewer if the process could not open as many; at least 1.

    Args:
        max_connections: as set.
        max_open_files: of the process; None asks the system.
    """
    if max_open_files is None:
        max_open_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if max_open_files == resource.RLIM_INFINITY:
            return max_connections
    return max(1, min(max_connections, max_open_files - _RESERVED_FILES))


def raise_file_limit(max_connections: int) -> None:
    """Let the process open as many files as that takes, as far as the hard limit allows.

    Shells and services start with 1,024, whatever the machine could do.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max_connections + _RESERVED_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY:
            wanted = max(soft, min(wanted, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def admin_connections(settings: Settings) -> int:
    """How many connections the admin port may have beside those of the public one."""
    return _ADMIN_CONNECTIONS if settings.admin_port is not None else 0


class Connection(Protocol):
    """What is looked at again and again while it is open."""

    def check(self, now_s: float) -> None:
        """Cut it if its time is over."""

    @property
    def unread_bytes(self) -> int:
        """What its client has not read of what it was sent."""


class Connections:
    """Counts the open connections, in all and of each peer.

    The last sixteenth (16 at most) is for peers that have none: a probe or an operator still gets
    in when few addresses hold all the rest.
    """

    def __init__(self, limit: int, limit_per_peer: int, peers: Peers) -> None:
        """Allow `limit` connections, `limit_per_peer` of one peer unless it is trusted."""
        self.limit = limit
        self._reserve = min(16, limit // 16)
        self._limit_per_peer = limit_per_peer
        self._peers = peers
        self._owners: dict[Connection, str | None] = {}
        self._counts: Counter[str | None] = Counter()

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """As many as the settings and the limit of open files allow.

        Raises:
            ValueError: `trusted_proxies` has a part that is no address.
        """
        peers = Peers(parse_networks(settings.trusted_proxies))
        of_admin = admin_connections(settings)
        limit = max(1, connection_limit(settings.max_connections + of_admin) - of_admin)
        return cls(limit, settings.max_connections_per_peer, peers)

    @classmethod
    def of_admin(cls) -> Self:
        """A few operators and probes, whatever comes to the public port."""
        return cls(_ADMIN_CONNECTIONS, _ADMIN_CONNECTIONS, Peers())

    def __len__(self) -> int:
        return len(self._owners)

    def __iter__(self) -> Iterator[Connection]:
        return iter(tuple(self._owners))  # a copy: checking one may close it

    def unread_bytes(self) -> int:
        """What all of them hold of answers that are not read."""
        return sum(connection.unread_bytes for connection in self._owners)

    def admit(self, connection: Connection, host: str) -> Refusal | None:
        """Count `connection` from `host`, or say why it has to go."""
        owner = self._peers.owner(host)
        of_peer = self._counts.get(owner, 0)
        room = self.limit - len(self._owners)
        if room <= 0 or (room <= self._reserve and of_peer):
            return Refusal.CONNECTIONS
        if owner is not None and of_peer >= self._limit_per_peer:
            return Refusal.PEER_CONNECTIONS
        self._owners[connection] = owner
        self._counts[owner] = of_peer + 1
        return None

    def release(self, connection: Connection) -> None:
        """Forget `connection`, which is closed. One that was not admitted is no error."""
        if connection not in self._owners:
            return
        owner = self._owners.pop(connection)
        self._counts[owner] -= 1
        if not self._counts[owner]:
            del self._counts[owner]
