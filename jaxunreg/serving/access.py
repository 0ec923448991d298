"""Access to the service: everybody on this machine, and everybody else who has the token."""

import hmac
import ipaddress
import socket
from collections.abc import Mapping

from jaxunreg.errors import ArgumentError, argument
from jaxunreg.serving.refusals import TokenError

_SHORTEST_TOKEN = 16


def is_loopback(host: str) -> bool:
    """Return whether a name or an address reaches only this machine.

    Raises:
      ArgumentError: no machine has this name.

    >>> is_loopback("localhost"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    return all(ipaddress.ip_address(str(found[4][0])).is_loopback for found in _addresses(host))


def allowed_hosts(host: str) -> list[str] | None:
    """Return the names by which a browser may reach a service for only this machine, or None if it listens for others.

    Another site may let its own name lead to this machine. Requests of its pages carry that name, and are refused.

    >>> allowed_hosts("0.0.0.0") is None, "localhost" in allowed_hosts("127.0.0.1")
    (True, True)
    """
    # Until Starlette 1.3, the name of an IPv6 address is the part before its first colon.
    return [host, "localhost", "127.0.0.1", "[::1]", "["] if is_loopback(host) else None


def _addresses(host: str) -> list[tuple]:
    try:
        return socket.getaddrinfo(host or None, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ArgumentError(
            argument("host", host), "a name or an address of this machine", f"{error.strerror}; e.g. 127.0.0.1"
        ) from error


def check_access(host: str, token: str | None) -> None:
    """Refuse to listen beyond this machine without a token, or with a token that can be guessed.

    Raises:
      ArgumentError: there is no token, or it is too short or not allowed in a header.

    >>> check_access("0.0.0.0", None)
    Traceback (most recent call last):
    jaxunreg.errors.ArgumentError: got host='0.0.0.0', which other machines can reach; expected a token; give
    token, e.g. one that `openssl rand -hex 16` prints
    """
    advice = f"give {argument('token')}, e.g. one that `openssl rand -hex 16` prints"
    if token is None:
        if not is_loopback(host):
            raise ArgumentError(f"{argument('host', host)}, which other machines can reach", "a token", advice)
    elif len(token) < _SHORTEST_TOKEN or not (token.isascii() and token.isprintable()) or " " in token:
        raise ArgumentError(
            f"{argument('token')} of {len(token)} characters",
            f"at least {_SHORTEST_TOKEN} of ASCII without blanks",
            advice,
            field="token",
        )


def check_token(headers: Mapping[str, str], token: str | None) -> None:
    """Refuse a request that does not carry the token.

    Args:
      headers: headers of the request, with names in lower case.
      token: the token; None if everybody has access.

    Raises:
      TokenError: it carries no token, or another one.

    >>> check_token({"authorization": "Bearer 0123456789abcdef"}, "0123456789abcdef")
    >>> check_token({}, "0123456789abcdef")
    Traceback (most recent call last):
    jaxunreg.serving.refusals.TokenError: got a request without the token; expected `Authorization: Bearer TOKEN`; ...
    """
    if token is None:
        return
    given = headers.get("authorization", "")
    kind, _, borne = given.partition(" ")
    # In the same time for every wrong token, so that the token cannot be guessed letter by letter.
    if kind.lower() != "bearer" or not hmac.compare_digest(borne.strip().encode(), token.encode()):
        raise TokenError(
            "a request with another token" if given else "a request without the token",
            "`Authorization: Bearer TOKEN`",
            "ask whoever started the service for it",
        )
