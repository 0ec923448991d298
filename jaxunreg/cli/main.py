"""The entry of the command line, which turns what a command raises into a line on stderr and an exit code."""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence

from jaxunreg.cli.console import logging_on_stderr, say, say_error, show_traceback
from jaxunreg.cli.exit_codes import ERROR, INTERRUPTED, USAGE
from jaxunreg.cli.options import option_names, with_options
from jaxunreg.cli.parsing import RefusedError, command_of, parsed
from jaxunreg.errors import JaxunregError

_DEBUG = "--debug"

# A line scan may have this many. Pillow's own limit is for images that strangers upload.
_MOST_PIXELS = 2**29


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
      args: without the program's name; default: those of the process. `--debug` anywhere among them shows the traceback
        of an error.

    Returns:
      The exit code: 0 all normal or done, 1 error, 3 anomalies found, 130 interrupted. A wrong command line leaves with
      2 by `SystemExit`, as `--help` does with 0.
    """
    words = list(sys.argv[1:] if args is None else args)
    debug = _DEBUG in words
    words = [word for word in words if word != _DEBUG]
    try:
        return _run(words)
    except RefusedError as error:
        _tell(error.reason, words, debug)
        raise SystemExit(USAGE) from None
    except BrokenPipeError:
        # The reader of the rows has had enough; Python would complain of it once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ERROR
    except KeyboardInterrupt:
        resume = "; start the same command again to go on from the last checkpoint" if words[:1] == ["fit"] else ""
        say(f"stopped{resume}")
        return INTERRUPTED
    except Exception as error:
        _tell(error, words, debug)
        return ERROR


def _run(words: Sequence[str]) -> int:
    run = parsed(words)
    from jaxunreg.compilation import keep_compiled  # imports JAX, which takes longer than to show a help

    keep_compiled()
    with logging_on_stderr(), _large_images():
        return run()


@contextlib.contextmanager
def _large_images() -> Iterator[None]:
    from PIL import Image

    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = _MOST_PIXELS
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _tell(error: Exception, words: Sequence[str], debug: bool) -> None:
    """Print an error that a user can act on as one line, and any other one as a bug with its traceback."""
    message = _message(error, words)
    if debug or message is None:
        show_traceback(error)
    say_error(message or "this is a bug in jaxunreg; please report it, with the lines above and the command")


def _message(error: Exception, words: Sequence[str]) -> str | None:
    """What a user should read in place of a traceback, or None for a bug."""
    if isinstance(error, JaxunregError):
        command = command_of(words)
        return error.worded(with_options(option_names(command) if command else ()))
    if isinstance(error, OSError | MemoryError):
        return str(error) or type(error).__name__
    import jax  # is imported by whatever filled a device

    if isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error):
        return (
            f"the device has too little memory: {str(error).splitlines()[0]}; free some, or fit with a smaller "
            "--resolution (features) or --batch-size, --base-channels or --patch (pixels)"
        )
    return None
