"""Sockets to listen on, bound before anything slow begins."""

import socket

from service.runtime.errors import HeedError


class ListenError(HeedError):
    """An address that cannot be listened on."""


def bind(host: str, port: int) -> socket.socket:
    """A bound socket, not listening yet: a port in use is found before the model is loaded.

    One that somebody else has bound in the same way, and does not listen on yet, is only found by
    `listen`.

    Raises:
        ListenError: the address is not there, or taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ListenError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise ListenError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    return listener


def listen(listener: socket.socket, backlog: int) -> None:
    """Let clients connect.

    Raises:
        ListenError: another process, bound to the same address, was first.
    """
    try:
        listener.listen(backlog)
    except OSError as error:
        raise ListenError(f"cannot listen on {url_of(listener)}: {error.strerror}") from None


def url_of(listener: socket.socket) -> str:
    """`http://127.0.0.1:8000`."""
    name, port = listener.getsockname()[:2]
    return f"http://{f'[{name}]' if ':' in name else name}:{port}"
