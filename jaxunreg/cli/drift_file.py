"""The file of `--drift`, which continues a test of drift from run to run."""

import json
from pathlib import Path

from jaxunreg.cli.options import CommandError
from jaxunreg.errors import ArgumentError
from jaxunreg.files import replacing
from jaxunreg.inspection.detector_folder import cannot_write
from jaxunreg.inspection.drift import DriftState, DriftTest
from jaxunreg.paths import read_file
from jaxunreg.serialization import with_checksum, without_checksum


def read_drift(path: Path | None, test: DriftTest) -> DriftState:
    """Read the state that an earlier run left, or return the first state.

    Args:
      path: the file, which need not exist; None for the first state.
      test: test of the detector.

    Raises:
      CommandError: the file holds something else, or a state of another model or rate.
      OSError: it cannot be read.
    """
    if path is None or not path.exists():
        return test.init()
    try:
        return test.restore(without_checksum(json.loads(read_file(path))))
    except (ValueError, RecursionError) as error:  # JSON and UTF-8 raise kinds of ValueError, as does ArgumentError.
        reason = error.got if isinstance(error, ArgumentError) else "no JSON"
        raise CommandError(
            f"--drift {path}, with {reason}",
            "a file that was written for this model and this false-positive rate",
            "name another file to begin again, as after every calibration",
            field="drift",
        ) from error


def write_drift(path: Path, test: DriftTest, state: DriftState) -> None:
    """Write the state, with its reading in words and numbers.

    Raises:
      CheckpointError: the file cannot be written.
    """
    reading = test.reading(state)
    content = {**test.dump(state), "reading": {**reading._asdict(), "alarm": reading.alarm, "text": reading.sentence}}
    try:
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(with_checksum(content), allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise cannot_write(f"--drift {path}", error) from error
