"""Of an error that the caller is told, Orbax and asyncio print nothing, and of all else everything."""

import asyncio
import gc
import logging
import sys
import threading

import pytest

from jaxunreg.training.quiet import quiet_orbax


@pytest.fixture
def printed(monkeypatch):
    """What reaches the hooks of Python and the loggers."""
    found = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: found.append(str(unraisable.exc_value)))
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: found.append(str(error)))
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())
    for name in ("absl", "asyncio", "jaxunreg.datasets"):
        monkeypatch.setattr(logging.getLogger(name), "handlers", [handler])
    return found


class _SignalingThread(threading.Thread):  # by the name of Orbax's
    pass


def make_noise():
    for name in ("absl", "asyncio"):
        logging.getLogger(name).error("noise")
    # As TensorStore reports a write to a loop that is closed.
    loop = asyncio.new_event_loop()
    loop.close()
    try:
        loop.call_soon_threadsafe(print)
    except RuntimeError as error:
        sys.excepthook(RuntimeError, error, None)


def test_what_orbax_prints_of_an_error_is_kept_away_with_what_its_threads_print_later(printed):
    late = threading.Event()

    def print_later():
        late.wait(10)
        make_noise()

    thread = _SignalingThread(target=print_later)

    @quiet_orbax()
    def save():
        thread.start()
        make_noise()
        threading.Timer(0.1, late.set).start()
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        save()
    assert not thread.is_alive()
    assert printed == []
    make_noise()
    assert printed == ["noise", "noise", "Event loop is closed"]


def test_what_others_print_is_not_kept_away(printed):
    class Falls:
        def __del__(self):
            raise RuntimeError("fell")

    with quiet_orbax():
        logging.getLogger("jaxunreg.datasets").error("told")
        sys.excepthook(ValueError, ValueError("odd"), None)
        falls = Falls()
        del falls
        gc.collect()
    assert printed == ["told", "odd", "fell"]
