"""A listening socket for the server and the pages, and the address that it has."""

import errno
import socket

from factory.errors import InputError

UNREAD = 60_000  # milliseconds that a reader who reads nothing is waited for


def listen(host: str, port: int, option: str = "port") -> socket.socket:
    """A listening socket; `port` 0 takes a free one, which `option` names. InputError if it cannot be had."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # accepted connections inherit it
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD)
    try:
        listener.bind((host.strip("[]"), port))
        listener.listen(2048)  # from here on a caller waits for the server to be up, and is not refused
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise InputError(f"port {port} is in use: give another with {option}={port + 1}") from None
        raise InputError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    return listener


def address(listener: socket.socket) -> str:
    """`http://127.0.0.1:8000` of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
