"""How many connections may be open, and who counts as one client."""

import resource

import pytest

from service.http.connections import (
    Connections,
    admin_connections,
    connection_limit,
    raise_file_limit,
)
from service.http.peers import Peers
from service.http.refusals import Refusal
from service.networks import parse_networks


class Open:
    """A connection."""

    def check(self, now_s: float) -> None:
        """Nothing to check."""

    unread_bytes = 7


def admit(connections: Connections, host: str, count: int = 1) -> list[Refusal | None]:
    """What `count` new connections from `host` get."""
    return [connections.admit(Open(), host) for _ in range(count)]


@pytest.mark.parametrize(
    ("wanted", "files", "limit"), [(4096, 1024, 976), (100, 1024, 100), (4096, 64, 16), (10, 8, 1)]
)
def test_limit_leaves_descriptors_for_everything_else(wanted, files, limit):
    """Files, the engine, whoever is refused; never below one."""
    assert connection_limit(wanted, files) == limit
    assert connection_limit(1) == 1


@pytest.mark.parametrize(
    ("limits", "wanted", "expected"),
    [
        ((1024, 20000), 4096, (4144, 20000)),
        ((1024, 2048), 4096, (2048, 2048)),
        ((8192, 20000), 4096, None),
        ((1024, resource.RLIM_INFINITY), 4096, (4144, resource.RLIM_INFINITY)),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 4096, None),
    ],
)
def test_open_files_are_raised_to_what_the_connections_need(monkeypatch, limits, wanted, expected):
    """Within the hard limit; never lowered."""
    now = list(limits)
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda which, new: now.__setitem__(slice(2), new))
    raise_file_limit(wanted)
    assert tuple(now) == (expected or limits)


def test_last_connections_are_for_peers_without_one():
    """A probe gets in when one address has taken the rest."""
    connections = Connections(32, 32, Peers())
    assert admit(connections, "10.0.0.1", 31) == [None] * 30 + [Refusal.CONNECTIONS]
    assert admit(connections, "10.0.0.2", 2) == [None, Refusal.CONNECTIONS]
    assert admit(connections, "10.0.0.3") == [None]
    assert admit(connections, "10.0.0.4") == [Refusal.CONNECTIONS]
    assert len(connections) == 32


def test_room_is_given_back_once():
    """Of a connection that was not admitted there is nothing to give back."""
    connections = Connections(10, 1, Peers())
    first, second = Open(), Open()
    assert connections.admit(first, "a") is None
    assert connections.admit(second, "a") is Refusal.PEER_CONNECTIONS
    connections.release(second)
    connections.release(first)
    connections.release(first)
    assert len(connections) == 0
    assert connections.admit(second, "a") is None
    assert list(connections) == [second]


@pytest.mark.parametrize(
    ("host", "owner"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("10.1.2.3", None),
        ("::ffff:10.1.2.3", None),
        ("::1", None),
        ("", ""),
    ],
)
def test_owner_is_an_address_or_a_network_of_64_bits(host, owner):
    """IPv4 in either form is the same; trusted proxies are nobody's."""
    assert Peers(parse_networks(" 10.0.0.0/8, ::1,")).owner(host) == owner


@pytest.mark.parametrize("text", ["10.0.0.1/8", "proxy", "10.0.0.0/8; ::1"])
def test_list_with_something_else_names_it(text):
    """A proxy that is silently not trusted would be hard to find."""
    with pytest.raises(ValueError, match=r"expected addresses or networks.*1|proxy"):
        parse_networks(text)


def test_settings_decide(settings):
    """All three of them."""
    changed = {"max_connections": 20, "max_connections_per_peer": 2, "trusted_proxies": "10.0.0.1"}
    connections = Connections.from_settings(settings.model_copy(update=changed))
    assert connections.limit == 20
    assert admit(connections, "10.0.0.2", 3) == [None, None, Refusal.PEER_CONNECTIONS]
    assert admit(connections, "10.0.0.1", 3) == [None] * 3


def test_admin_port_has_a_few_connections_which_the_public_one_leaves_to_it(monkeypatch, settings):
    """Of the open files too: neither port can take all of them."""
    with_admin = settings.model_copy(update={"admin_port": 0})
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, 1024))
    assert Connections.of_admin().limit == admin_connections(with_admin) == 32
    assert admin_connections(settings) == 0
    assert Connections.from_settings(settings).limit == 1024 - 48
    assert Connections.from_settings(with_admin).limit == 1024 - 48 - 32
    few = with_admin.model_copy(update={"max_connections": 100})
    assert Connections.from_settings(few).limit == 100


def test_what_is_not_read_is_counted_over_all_connections():
    """Of those that are open."""
    connections = Connections(10, 10, Peers())
    one, other = Open(), Open()
    for each in (one, other):
        assert connections.admit(each, "10.0.0.1") is None
    assert connections.unread_bytes() == 14
    connections.release(one)
    assert connections.unread_bytes() == 7
