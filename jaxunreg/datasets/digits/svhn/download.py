"""A download that resumes where it broke off, and is used only if its checksum is right."""

import hashlib
import http.client
import os
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from jaxunreg.datasets.digits.svhn.official import URL_VARIABLE, SvhnUnavailableError
from jaxunreg.errors import argument

_CHUNK = 1 << 18

# An attempt with this many bytes is progress: failed attempts before it no longer count.
_HEADWAY = 1 << 20

_SECONDS_BETWEEN_ATTEMPTS = 0.5

_LOCAL_COPY = f"give a local copy with {argument('data_dir')}"

_CHECK_NETWORK = f"check the network, set {URL_VARIABLE} or {argument('url')} to a mirror, or {_LOCAL_COPY}"


def fetch(
    url: str,
    target: Path,
    *,
    sha256: str,
    size: int | None = None,
    timeout: float = 30.0,
    attempts: int = 5,
    progress: bool = True,
) -> Path:
    """Download a file, resume a transfer that broke off, and put the file in place only if its checksum is right.

    The bytes are written to `target` + `.part`. A broken transfer goes on from there with HTTP Range, in this call or
    in the next. If the checksum is wrong, the bytes are removed and the download starts again, once.

    Args:
      url: `http` or `https`; proxies are taken from the environment.
      target: the path to write. If it exists with the right checksum, nothing is fetched.
      sha256: the expected checksum, 64 hexadecimal digits.
      size: the expected length in bytes, if known.
      timeout: seconds without an answer before an attempt fails.
      attempts: number of attempts in one transfer, with growing pauses between them.
      progress: whether to draw a progress bar on standard error.

    Returns:
      `target`.

    Raises:
      SvhnUnavailableError: the file cannot be fetched, is not the expected file, or cannot be written.
    """
    if target.exists():
        if _sha256(target) == sha256:
            return target
        target.unlink()
    part = target.with_name(target.name + ".part")
    columns = (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress("{task.description}", BarColumn(), *columns, console=console, disable=not progress) as bars:
        for _ in range(2):
            _transfer(url, part, size=size, timeout=timeout, attempts=attempts, progress=bars)
            got, length = _sha256(part), part.stat().st_size
            if got == sha256:
                os.replace(part, target)
                return target
            part.unlink()
    raise SvhnUnavailableError(
        f"{url}: {length:,} bytes with SHA-256 {got}, twice in a row",
        sha256,
        f"they were removed; the server, or a proxy on the way, has another file: set {URL_VARIABLE} or "
        f"{argument('url')} to another mirror (with {argument('checksums')} if its files are not the official ones)",
    )


def probe(url: str, seconds: float) -> None:
    """Raise if the server does not answer at all in time.

    It runs in its own thread, because looking up a name has no time-out. Without network it can take minutes.
    """
    outcome: list[Exception | None] = []

    def ask() -> None:
        request = urllib.request.Request(url, headers={"Range": "bytes=0-0", "User-Agent": "jaxunreg"})
        try:
            urllib.request.urlopen(request, timeout=seconds).close()
            outcome.append(None)
        except urllib.error.HTTPError as error:
            error.close()
            outcome.append(error)
        except (OSError, http.client.HTTPException) as error:
            outcome.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    if outcome and outcome[0] is None:
        return
    failure = outcome[0] if outcome else f"no answer within {seconds:g} s"
    reason = failure if isinstance(failure, urllib.error.HTTPError) else getattr(failure, "reason", failure)
    raise SvhnUnavailableError(f"{url}: {reason}", advice=_CHECK_NETWORK)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _transfer(url: str, part: Path, *, size: int | None, timeout: float, attempts: int, progress: Progress) -> None:
    """Complete `part` from its end. Raise if `attempts` in a row make no progress."""
    bar = progress.add_task(part.stem, total=size)
    failures = furthest = 0
    while True:
        have = part.stat().st_size if part.exists() else 0
        if size is not None and have >= size:
            return
        headers = {"Accept-Encoding": "identity", "User-Agent": "jaxunreg"}
        if have:
            headers["Range"] = f"bytes={have}-"
        request = urllib.request.Request(url, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                start, total = _announced(response, have)
                if size is not None and total is not None and total != size:
                    part.unlink(missing_ok=True)
                    raise SvhnUnavailableError(
                        f"{url} is a file of {total:,} bytes",
                        f"the official file of {size:,} bytes",
                        f"give the mirror's {argument('checksums')}, or another {argument('url')}",
                    )
                progress.update(bar, total=total or size, completed=start)
                have = _append(part, start, response, size, partial(progress.update, bar))
            length = size if total is None else total
            if length is None or have == length:
                return
            failure = f"the connection was closed after {have:,} of {length:,} bytes"
        except SvhnUnavailableError:
            raise
        except urllib.error.HTTPError as error:
            error.close()
            failure = f"HTTP {error.code} {error.reason}"
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.unlink(missing_ok=True)
            elif error.code < 500 and error.code not in (408, 429):
                raise SvhnUnavailableError(
                    f"{url}: {failure}",
                    "the file",
                    f"set {URL_VARIABLE} or {argument('url')} to a mirror that has it, or {_LOCAL_COPY}",
                ) from error
        except (OSError, http.client.HTTPException, _BrokenOffError) as error:
            failure = f"{getattr(error, 'reason', None) or error or type(error).__name__}"
        kept = part.stat().st_size if part.exists() else 0
        failures = failures + 1 if kept < furthest + _HEADWAY else 1
        furthest = max(furthest, kept)
        if failures >= attempts:
            raise SvhnUnavailableError(
                f"{url}: {failure} (attempt {failures} of {attempts}, time-out {timeout:g} s)",
                advice=_CHECK_NETWORK
                + (f"; {kept:,} bytes are kept in {part}, and the next call goes on from there" if kept else ""),
            )
        time.sleep(_SECONDS_BETWEEN_ATTEMPTS * 2 ** (failures - 1))


def _announced(response: http.client.HTTPResponse, have: int) -> tuple[int, int | None]:
    """Return where the following body starts in the file, and the file's length if the server says it."""
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != have:
            got = response.headers.get("Content-Range")
            raise http.client.HTTPException(f"asked for the bytes from {have} on, got Content-Range {got!r}")
        return have, None if match[2] == "*" else int(match[2])
    length = response.headers.get("Content-Length")
    return 0, None if length is None else int(length)


def _append(
    part: Path, start: int, response: http.client.HTTPResponse, size: int | None, report: Callable[..., None]
) -> int:
    """Write the response's body to `part` from `start` on, and return the length of `part`."""
    have = start
    try:
        with part.open("ab" if start else "wb") as file:
            for chunk in _chunks(response):
                file.write(chunk)
                file.flush()
                have += len(chunk)
                report(completed=have)
                if size is not None and have > size:  # the checksum will tell; a body without end must stop
                    break
    except OSError as error:
        part.unlink(missing_ok=True)
        raise unwritable(part, error) from error
    return have


class _BrokenOffError(Exception):
    """The network failed while a body was read. It is no OSError, so that OSError means the disk."""


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            chunk = response.read1(_CHUNK)  # read() would lose the bytes before a stall
        except (OSError, http.client.HTTPException) as error:
            raise _BrokenOffError(f"{error or type(error).__name__}") from error
        if not chunk:
            return
        yield chunk


def unwritable(path: Path, error: OSError) -> SvhnUnavailableError:
    """Return the error to raise if the operating system refuses to write."""
    return SvhnUnavailableError(
        f"{path}: cannot be written ({error.strerror or error})",
        "a folder with about 500 MB free",
        f"free some space, or choose another folder with {argument('cache_dir')} or TFDS_DATA_DIR",
    )
