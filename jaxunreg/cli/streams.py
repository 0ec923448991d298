"""The standard streams of a command, which may be closed, or may lack letters of a name in their encoding."""

import io
import os
import sys


class Closed(io.TextIOBase):
    """A replacement for a closed standard stream. Everything that is written to it is lost."""

    def write(self, text: str) -> int:
        return len(text)


def prepare_streams() -> None:
    """Make sure that writing to stdout and stderr does not fail.

    `Closed` replaces a closed stream, and its number is taken. Otherwise a file that is opened later would get the
    number, and with it everything that libraries write to it. A letter that an encoding lacks is written as an escape.
    """
    if None in (sys.stdin, sys.stdout, sys.stderr):
        while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(number)
    sys.stdout = sys.stdout or Closed()
    sys.stderr = sys.stderr or Closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
