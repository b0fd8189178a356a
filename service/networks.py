"""Networks as people write them. Standard library only."""

import ipaddress

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_networks(text: str) -> tuple[Network, ...]:
    """Addresses and networks from a list with commas, such as `10.0.0.0/8, ::1`.

    Raises:
        ValueError: a part is neither; names it.
    """
    parts = (part.strip() for part in text.split(","))
    try:
        return tuple(ipaddress.ip_network(part) for part in parts if part)
    except ValueError as error:
        expected = "expected addresses or networks, such as 10.0.0.0/8"
        raise ValueError(f"{expected}: {error}") from None


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
