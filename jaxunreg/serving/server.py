"""The server of an application. It binds its socket early, and answers all received requests before it ends."""

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import uvicorn
from starlette.applications import Starlette

from jaxunreg.errors import ArgumentError, argument
from jaxunreg.integers import check_integer

_LAST_PORT = 65535


def bound_socket(host: str, port: int) -> socket.socket:
    """Bind a socket to an address where nothing listens. No client can connect before `Server.run`.

    Args:
      host: a name or an address of this machine.
      port: the port; 0 for any free one.

    Raises:
      ArgumentError: the port is taken, not allowed or invalid, or the address does not belong to this machine.

    >>> with bound_socket("127.0.0.1", 0) as first:
    ...     first.listen()
    ...     bound_socket("127.0.0.1", first.getsockname()[1])
    Traceback (most recent call last):
    jaxunreg.errors.ArgumentError: got port=..., where nothing can listen at 127.0.0.1 (...)...
    """
    if check_integer("port", port, at_least=0) > _LAST_PORT:
        raise ArgumentError(argument("port", port), f"at most {_LAST_PORT}", "e.g. 8000")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        try:
            # Otherwise the port stays taken for a minute after the service has ended.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except BaseException:
            bound.close()
            raise
    except OSError as error:
        raise _cannot_listen(host, port, error) from error
    return bound


def _cannot_listen(host: str, port: int, error: OSError) -> ArgumentError:
    return ArgumentError(
        f"{argument('port', port)}, where nothing can listen at {host} ({error.strerror})",
        "a free port of this machine",
        f"choose another {argument('port')}, or 0 for any, or stop what listens there",
    )


def address_of(bound: socket.socket) -> str:
    """Return the address at which a browser finds a socket.

    >>> with bound_socket("127.0.0.1", 0) as bound:
    ...     address_of(bound).startswith("http://127.0.0.1:")
    True
    """
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Server:
    """An application that listens at a socket, in this thread, until it is stopped.

    In the main thread, SIGTERM and SIGINT stop it, too. Then it takes no more connections, and answers all received
    requests.

    Args:
      app: the application.
      bound: socket from `bound_socket`.
      patience: seconds that answers may take after the stop.
    """

    def __init__(self, app: Starlette, bound: socket.socket, *, patience: float = 30.0) -> None:
        self._bound = bound
        config = uvicorn.Config(
            app,
            lifespan="on",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=max(1, round(patience)),
        )
        self._server = uvicorn.Server(config)

    def run(self, on_listening: Callable[[str], None] | None = None) -> None:
        """Listen until it is stopped.

        Args:
          on_listening: called with the address once clients can connect.

        Raises:
          ArgumentError: another program has begun to listen at the port.
        """
        try:
            self._bound.listen(self._server.config.backlog)
        except OSError as error:
            host, port = self._bound.getsockname()[:2]
            raise _cannot_listen(host, port, error) from error
        if on_listening is not None:
            on_listening(address_of(self._bound))
        with _quiet_signals():
            self._server.run(sockets=[self._bound])

    def stop(self) -> None:
        """End `run`, from another thread."""
        self._server.should_exit = True


@contextlib.contextmanager
def _quiet_signals() -> Iterator[None]:
    """Handle a signal only once: the server would raise it again after its end."""
    signals = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {one: signal.signal(one, lambda *_: None) for one in signals}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
