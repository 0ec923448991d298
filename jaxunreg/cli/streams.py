"""The standard streams of a command, which may be closed, or of an encoding that has not every letter of a name."""

import io
import os
import sys


class Closed(io.TextIOBase):
    """Stands in for a standard stream that is closed: what is written to it is lost."""

    def write(self, text: str) -> int:
        return len(text)


def prepare_streams() -> None:
    """Make stdout and stderr such that writing to them does not fail.

    A closed one gets `Closed` in its place, and its number is taken, so that no file that is opened later gets it and
    with it what libraries write to that number. A letter that an encoding does not have is written as an escape.
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
