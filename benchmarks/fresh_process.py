"""Compile time and peak memory of one side in processes of their own, where nothing is compiled yet."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence


def measured(
    module: str, arguments: Sequence[str], *, cached: bool, environment: Mapping[str, str] | None = None
) -> dict[str, float]:
    """Run a module in a fresh process, and return the numbers of the JSON in its last line.

    Args:
      module: a module of this folder, which prints `compile_seconds`.
      arguments: its arguments.
      cached: run it again with the programs on disk, and add `compile_seconds_warm`.
      environment: further variables.

    Raises:
      subprocess.CalledProcessError: the process failed.
    """
    with tempfile.TemporaryDirectory() as cache:
        variables = {
            **os.environ,
            "JAX_COMPILATION_CACHE_DIR": cache,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "TORCHINDUCTOR_CACHE_DIR": cache,
            **(environment or {}),
        }
        command = [sys.executable, "-m", module, *arguments]

        def run() -> dict[str, float]:
            output = subprocess.run(command, env=variables, check=True, capture_output=True, text=True).stdout
            return json.loads(output.splitlines()[-1])

        cold = run()
        return {**cold, "compile_seconds_warm": run()["compile_seconds"]} if cached else cold
