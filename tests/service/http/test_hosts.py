"""Which host names a port answers to, by default and as set."""

import pytest

from service.http.hosts import Hosts
from service.http.refusals import Refusal
from service.settings import Settings

LOCAL = ["localhost", "LOCALHOST.:8000", "a.localhost", "127.0.0.1:80", "127.9.9.9", "[::1]:8000"]
ADDRESSES = ["10.1.2.3", "10.1.2.3:8000", "[2001:db8::1]"]
EVERYWHERE = "0.0.0.0"  # noqa: S104  nothing listens
NAMES = [
    "evil.example",
    "evil.example:8000",
    "EVIL.example.",
    "localhost.evil.example",
    "1.2.3.4.x",
]


def allowed(hosts: Hosts, names: list[str]) -> list[str]:
    """Those of `names` that are answered."""
    return [name for name in names if hosts.refusal(name.encode()) is None]


def settings(**given: object) -> Settings:
    """With a model that is not read."""
    return Settings(model="artifact", **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_loopback_without_keys_takes_no_name_that_a_stranger_can_own(host):
    """DNS rebinding: addresses and names without a dot cannot be a page's own."""
    hosts = Hosts.of_public(settings(host=host))
    assert allowed(hosts, [*LOCAL, *ADDRESSES, "heed", ""]) == [*LOCAL, *ADDRESSES, "heed", ""]
    assert allowed(hosts, NAMES) == []
    assert hosts.refusal(b"evil.example") is Refusal.HOST


@pytest.mark.parametrize(
    "given",
    [
        {"host": EVERYWHERE},
        {"host": "::"},
        {"trusted_proxies": "127.0.0.1"},
        {"api_keys_file": "k"},
    ],
)
def test_any_name_is_taken_where_somebody_has_chosen_who_comes_in(given):
    """In a container, behind a proxy, with keys: its names are not known here."""
    hosts = Hosts.of_public(settings(**given))
    assert allowed(hosts, LOCAL + NAMES) == LOCAL + NAMES


def test_admin_port_takes_loopback_names_addresses_and_its_own():
    """By default, whatever the public port takes."""
    for given in ({}, {"host": EVERYWHERE}, {"api_keys_file": "k"}, {"trusted_proxies": "::1"}):
        hosts = Hosts.of_admin(settings(admin_host="ops.internal", **given))
        assert allowed(hosts, LOCAL + ADDRESSES) == LOCAL + ADDRESSES
        assert allowed(hosts, ["ops.internal:9000", "OPS.internal"]) != []
        assert allowed(hosts, [*NAMES, "heed"]) == []


def test_names_that_are_set_count_on_both_ports_without_their_ports():
    """Case and a dot at the end do not matter; `*` is any."""
    given = {"allowed_hosts": "Heed.Example:8000, other", "host": EVERYWHERE}
    for make in (Hosts.of_public, Hosts.of_admin):
        hosts = make(settings(**given))
        assert allowed(hosts, ["heed.example", "HEED.EXAMPLE.:1", "other", "10.0.0.1"]) != []
        assert allowed(hosts, NAMES) == []
        assert allowed(make(settings(allowed_hosts="*")), NAMES) == NAMES


@pytest.mark.parametrize("value", ["a b", "http://a", "a/b", "*.example", "u@a"])
def test_setting_that_names_no_host_is_refused(value):
    """At start."""
    with pytest.raises(ValueError, match="expected host names"):
        settings(allowed_hosts=value)
