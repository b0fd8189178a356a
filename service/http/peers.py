"""Addresses of clients: which are trusted, and which count as one."""

import ipaddress

from service.networks import Network


class Peers:
    """Sorts addresses into trusted ones and owners."""

    def __init__(self, trusted: tuple[Network, ...] = ()) -> None:
        """Trust the addresses in `trusted`."""
        self._trusted = trusted

    def owner(self, host: str) -> str | None:
        """Who is held to account for `host`: None if it is trusted, else the address.

        For IPv6 the /64 network, as everybody has all the addresses of one.
        """
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:  # no address: a socket of the file system
            return host
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if any(address in network for network in self._trusted):
            return None
        if isinstance(address, ipaddress.IPv6Address):
            return str(ipaddress.IPv6Address(int(address) >> 64 << 64))
        return str(address)
