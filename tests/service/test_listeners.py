"""Sockets to listen on."""

import pytest

from service.listeners import ListenError, bind, listen, url_of


def test_address_that_another_process_took_meanwhile_is_named():
    """Both could bind, as neither listened; the second hears of it in one line."""
    with bind("127.0.0.1", 0) as first, bind("127.0.0.1", first.getsockname()[1]) as second:
        listen(first, 1)
        with pytest.raises(ListenError, match=f"cannot listen on {url_of(first)}: Address already"):
            listen(second, 1)
