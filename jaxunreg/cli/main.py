"""The entry of the command line. It turns an error of a command into a line on stderr and an exit code."""

import contextlib
import errno
import gc
import importlib.metadata
import os
import sys
from collections.abc import Iterator, Sequence

from jaxunreg.cli.console import logging_on_stderr, say, say_error, show_traceback
from jaxunreg.cli.exit_codes import ERROR, INTERRUPTED, SUCCESS, USAGE
from jaxunreg.cli.options import CommandError, option_names, with_options
from jaxunreg.cli.parsing import RefusedError, command_of, parsed
from jaxunreg.cli.streams import prepare_streams
from jaxunreg.errors import JaxunregError

_DEBUG = "--debug"

# A line scan may have this many pixels. Pillow's own limit is for images that strangers upload.
_MOST_PIXELS = 2**29


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
      args: words without the program's name; default: those of the process. `--debug` anywhere among them shows the
        traceback of an error. A single `--version` prints the version.

    Returns:
      The exit code: 0 all normal or done, 1 error, 3 anomalies found, 130 interrupted. A wrong command line raises
      `SystemExit` with 2, and `--help` with 0.
    """
    prepare_streams()
    words = list(sys.argv[1:] if args is None else args)
    debug = _DEBUG in words
    words = [word for word in words if word != _DEBUG]
    if words == ["--version"]:
        print(f"jaxunreg {importlib.metadata.version('jaxunreg')}")
        return SUCCESS
    try:
        _check_words(words)
        return _run(words, whole_process=args is None)
    except RefusedError as error:
        _tell(error.reason, words, debug)
        raise SystemExit(USAGE) from None
    except BrokenPipeError:
        # The reader of the rows has stopped reading. Python would complain again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ERROR
    except KeyboardInterrupt:
        resume = "; start the same command again to go on from the last checkpoint" if words[:1] == ["fit"] else ""
        say(f"stopped{resume}")
        return INTERRUPTED
    except Exception as error:
        _tell(error, words, debug)
        return ERROR
    finally:
        if args is None:
            gc.freeze()  # As in `_modules_left_alone`: Python would go through all objects once more to free them.


def _check_words(words: Sequence[str]) -> None:
    """Refuse words that nobody means: an empty path, for example, would be the current folder."""
    for before, word in zip(("", *words), words, strict=False):
        if not word or (word.startswith("--") and word.endswith("=")):
            option = word.rstrip("=") or before
            after = f" after {option}" if option.startswith("--") else ""
            raise RefusedError(
                CommandError(
                    f"an empty word{after}", "a path or a value", "look whether a variable of the shell is empty"
                )
            )
        if "\0" in word:
            raise RefusedError(CommandError(f"{word!r}", "words without null bytes", "look at where it comes from"))


def _run(words: Sequence[str], *, whole_process: bool) -> int:
    with _modules_left_alone() if whole_process else contextlib.nullcontext():
        run = parsed(words)
        from jaxunreg.compilation import keep_compiled  # imports JAX, which takes longer than showing a help text
    keep_compiled()
    with logging_on_stderr(), _large_images():
        return run()


@contextlib.contextmanager
def _modules_left_alone() -> Iterator[None]:
    """Keep Python's garbage collector from what the body imports, which stays until the process ends.

    The collector would go through it again and again: during the imports, while programs are traced, and at the end.
    That took 0.6 of the 3.1 s of processor time that the score of one image took. A program that calls `main` has
    objects of its own, so this is only for a process that does nothing else.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


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
    """Print an error that a user can fix as one line, and any other error as a bug with its traceback."""
    message = _message(error, words)
    if debug or message is None:
        show_traceback(error)
    say_error(message or "this is a bug in jaxunreg; please report it, with the lines above and the command")


def _message(error: Exception, words: Sequence[str]) -> str | None:
    """Return the text for the user in place of a traceback, or None for a bug."""
    if isinstance(error, JaxunregError):
        command = command_of(words)
        return error.worded(with_options(option_names(command) if command else ()))
    if isinstance(error, OSError):
        return f"{error}; {_advice(error)}"
    if isinstance(error, MemoryError):
        return f"the memory is full ({str(error) or 'MemoryError'}); close other programs, or take smaller images"
    import jax  # is already imported if a device is full

    try:
        jax.devices()
    except Exception as reason:  # JAX raises several kinds, including an AssertionError without a text
        wanted = os.environ.get("JAX_PLATFORMS")
        return (
            f"JAX finds no device: {str(reason) or type(reason).__name__}; JAX_PLATFORMS is {wanted or 'not set'}; "
            "unset it, or set it to cpu, or install JAX for the device that it names"
        )
    if isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error):
        return (
            f"the device has too little memory: {str(error).splitlines()[0]}; free some, or fit with a smaller "
            "--resolution (features) or --batch-size, --base-channels or --patch (pixels)"
        )
    return None


_ADVICE = {
    errno.ENOSPC: "free some disk space, or write to another disk",
    errno.EDQUOT: "free some disk space, or write to another disk",
    errno.EACCES: "check the rights of the file and of its folder",
    errno.EPERM: "check the rights of the file and of its folder",
    errno.EROFS: "write to another disk",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "raise the limit of open files with `ulimit -n`",
}


def _advice(error: OSError) -> str:
    return _ADVICE.get(error.errno or 0, "check the file and the disk that it is on")
