"""Silence for Orbax's messages about an error that the caller gets as one sentence."""

import contextlib
import gc
import logging
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any

_LOGGERS = ("absl", "asyncio")

# Names of the threads in which Orbax writes, and of what TensorStore reports to their closed event loops.
_SECONDS_OF_THREADS, _SECONDS_OF_LOOPS = 10.0, 0.2


@contextlib.contextmanager
def quiet_orbax() -> Iterator[None]:
    """Keep Orbax and asyncio from printing while the body runs. The error that it raises says what went wrong.

    On a full disk they print up to 40 tracebacks for one error: one for each of Orbax's threads, and one for each write
    that ends after its event loop was closed. So this waits for the threads.
    """
    hooks = sys.unraisablehook, sys.excepthook

    def unraisable(found: Any) -> None:
        if not _is_of_a_loop(found.exc_value):
            hooks[0](found)

    def uncaught(kind: Any, error: BaseException, trace: Any) -> None:
        if not _is_of_a_loop(error):
            hooks[1](kind, error, trace)

    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addFilter(_nothing)
    sys.unraisablehook, sys.excepthook = unraisable, uncaught
    try:
        yield
    except Exception as error:
        for thread in threading.enumerate():
            if type(thread).__name__ == "_SignalingThread":
                thread.join(_SECONDS_OF_THREADS)
        _let_go(error)
        gc.collect()
        time.sleep(_SECONDS_OF_LOOPS)
        raise
    finally:
        sys.unraisablehook, sys.excepthook = hooks
        for logger in loggers:
            logger.removeFilter(_nothing)


def _is_of_a_loop(error: BaseException | None) -> bool:
    return isinstance(error, RuntimeError) and "Event loop is closed" in str(error)


def _nothing(record: logging.LogRecord) -> bool:
    return False


def _let_go(error: BaseException | None) -> None:
    """Drop the objects that the frames of an error hold. Its traceback can still be printed."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
