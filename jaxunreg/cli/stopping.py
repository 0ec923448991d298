"""Commands that run until they are stopped."""

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def stopping() -> Iterator[threading.Event]:
    """Yield an event that the first SIGINT or SIGTERM sets. A second one interrupts at once."""
    stop = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {one: signal.getsignal(one) for one in signals}

    def set_stop(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    for one in signals:
        signal.signal(one, set_stop)
    try:
        yield stop
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
