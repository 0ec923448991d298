"""A command or a URL to call when something is found."""

import json
import shlex
import subprocess
import urllib.request
from collections.abc import Mapping
from typing import Any

from jaxunreg.errors import ArgumentError, JaxunregError, argument

_SECONDS = 10.0
_TRIES = 2


class CallError(JaxunregError):
    """A command or a URL could not be called."""


class Caller:
    """A caller of a command or a URL, with the finding as JSON.

    A command runs without a shell, so a file's name is never run. It gets the JSON on its standard input and the path
    of the image as its last word. A URL gets the JSON by POST. Each has ten seconds and two tries.

    Args:
      target: a command with its words, or a URL that begins with http:// or https://.

    Raises:
      ArgumentError: it is empty, or a quotation mark is not closed.

    >>> Caller("python3 -c 'import sys; sys.exit(len(sys.argv) - 2)'")({"verdict": "anomalous"}, "a.png")
    """

    def __init__(self, target: str) -> None:
        self._target, self._words = target, []
        if not target.startswith(("http://", "https://")):
            try:
                self._words = shlex.split(target)
            except ValueError as error:
                raise ArgumentError(
                    f"{argument('on_anomaly', target)}: {error}", "a command or a URL", "close the quotation"
                ) from error
            if not self._words:
                raise ArgumentError(argument("on_anomaly", target), "a command or a URL", "e.g. ./stop-the-line")

    def __call__(self, found: Mapping[str, Any], path: str) -> None:
        """Call it.

        Args:
          found: JSON data.
          path: path of the image.

        Raises:
          CallError: each try fails or takes too long.
        """
        body = json.dumps(found).encode()
        for left in reversed(range(_TRIES)):
            try:
                self._run(body, path) if self._words else self._post(body)
                return
            except (OSError, subprocess.SubprocessError) as error:
                if not left:
                    raise CallError(
                        f"{self._target}, which could not be called: {error}",
                        f"a command that ends with 0, or a URL that answers with 2xx, within {_SECONDS:g} s",
                        "try it by hand",
                    ) from error

    def _run(self, body: bytes, path: str) -> None:
        # Its stdout goes to stderr, because this process's stdout may be read as rows.
        subprocess.run([*self._words, path], input=body, stdout=2, timeout=_SECONDS, check=True)

    def _post(self, body: bytes) -> None:
        request = urllib.request.Request(self._target, body, {"Content-Type": "application/json"}, method="POST")
        with urllib.request.urlopen(request, timeout=_SECONDS):
            pass
