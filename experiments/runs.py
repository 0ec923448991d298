"""The folder of a run, which goes on where it stopped, and the record of data, versions and devices."""

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from jaxunreg.errors import JaxunregError
from jaxunreg.files import replacing
from jaxunreg.provenance import PACKAGES, device, versions
from jaxunreg.serialization import to_json
from jaxunreg.training.log import MetricsLog

from .commands import command_line, console

ConfigT = TypeVar("ConfigT")

OUTSIDE = ("runs_dir", "name", "progress")
"""Settings for the place and the display of a run. They do not change what it computes."""


class RunError(JaxunregError):
    """A run cannot be started or continued. Its text names options of the command line."""


@dataclasses.dataclass
class Run(Generic[ConfigT]):
    """A run's folder. Finished stages are read back instead of being done again."""

    directory: Path
    config: ConfigT
    timings: dict[str, float] = dataclasses.field(default_factory=dict)
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)

    def stage(self, name: str, compute: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Return the arrays of stage `name`: read them from its file, or compute and store them."""
        path = self.directory / "scores" / f"{name}.npz"
        if path.exists():
            with np.load(path, allow_pickle=False) as file:
                arrays = {key: file[key] for key in file.files}
            stored = json.loads(str(arrays.pop("_stage")))
        else:
            began = time.perf_counter()
            arrays = compute()
            stored = {"seconds": time.perf_counter() - began, "notes": self.notes.get(name)}
            path.parent.mkdir(exist_ok=True)
            with replacing(path) as temporary, temporary.open("wb") as file:
                content: dict[str, Any] = {"_stage": np.array(json.dumps(to_json(stored))), **arrays}
                np.savez(file, **content)
        self.timings[name] = stored["seconds"]
        if stored["notes"] is not None:
            self.notes[name] = stored["notes"]
        return arrays

    def training_records(self, model: str) -> list[dict[str, Any]]:
        """Return what `fit` logged for a network in `models/<model>`, or nothing if none was trained."""
        return MetricsLog(self.directory / "models" / model / "metrics.jsonl").read()

    def write_json(self, name: str, content: Mapping[str, Any]) -> Path:
        """Write a JSON file of the run, whole or not at all."""
        path = self.directory / name
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(to_json(content), indent=1) + "\n", encoding="utf-8")
        return path

    @property
    def record(self) -> dict[str, Any]:
        """Return the content of `config.json`: the command, the settings, the versions, the device, the data."""
        return json.loads((self.directory / "config.json").read_text(encoding="utf-8"))

    @property
    def head(self) -> dict[str, Any]:
        """Return the first entries of `results.json`: what was run, on which data."""
        record = self.record
        settings = {name: record["config"][name] for name in ("preset", "seed")}
        return {"experiment": record["experiment"], **settings, "command": record["command"], "data": record["data"]}

    @property
    def tail(self) -> dict[str, Any]:
        """Return the last entries of `results.json`: how long each stage took, and on what."""
        record = self.record
        timings = {name: round(seconds, 2) for name, seconds in self.timings.items()}
        return {"timings": timings, "versions": record["versions"], "device": record["device"]}

    def record_data(self, description: Mapping[str, Any]) -> None:
        """Note the data in `config.json`.

        Args:
          description: description of the data, JSON data with at least `name` and `fingerprint`.

        Raises:
          RunError: the run began on other data.
        """
        record = self.record
        before = record.get("data", description)
        if before["fingerprint"] != description["fingerprint"]:
            raise RunError(
                f"{self.directory}, whose run began on other data ({before['name']})",
                f"the present data ({description['name']})",
                "choose another --name, or delete the folder",
            )
        self.write_json("config.json", {**record, "data": description})

    @contextlib.contextmanager
    def removed_if_refused(self) -> Iterator[None]:
        """After an error in the body, remove the folder if it holds only files of `open_run` and no noted data."""
        try:
            yield
        except Exception:
            with contextlib.suppress(OSError):
                made = {path.name for path in self.directory.iterdir()} == {"config.json", "figures"}
                if made and "data" not in self.record:
                    (self.directory / "figures").rmdir()
                    (self.directory / "config.json").unlink()
                    self.directory.rmdir()
            raise


def open_run(
    directory: Path, config: ConfigT, args: list[str], *, experiment: str, free: Collection[str] = ()
) -> Run[ConfigT]:
    """Make the run's folder, or go on in it if it holds the same run.

    Args:
      directory: the run's folder.
      config: a dataclass.
      args: the command line.
      experiment: name of the module in `experiments`.
      free: settings that may differ when the run is started again, besides those for its place and display.

    Raises:
      RunError: the folder holds a run with other settings or something else, or cannot be written.
    """
    run = Run(directory, config)
    settings = to_json(dataclasses.asdict(config))  # type: ignore[call-overload]
    for name in OUTSIDE:
        settings.pop(name)
    record = {
        "experiment": experiment,
        "command": command_line(experiment, args),
        "config": settings,
        "versions": versions((*PACKAGES, "orbax-checkpoint", "scikit-learn")),
        "device": device(),
    }
    path = directory / "config.json"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if path.exists():
            found = run.record
            names = sorted(
                name
                for name in {*found["config"], *settings} - {*free}
                if found["config"].get(name) != settings.get(name)
            )
            if names:
                raise RunError(
                    f"{directory}, which holds a run with other settings ({', '.join(names)})",
                    "a new folder or the same settings",
                    "choose another --name, or delete the folder",
                )
            record |= {"data": found["data"]} if "data" in found else {}
            console.print(f"going on with the run in {directory}", markup=False)
            now = {name: record[name] for name in ("versions", "device")}
            before = [{name: found[name] for name in now}, *found.get("continued", [])]
            if now != before[-1]:
                console.print("[yellow]other versions or another device than before[/]; config.json lists both")
                before.append(now)
            # The versions and the device that began the run come first. All later ones are listed.
            record |= before[0] | ({"continued": before[1:]} if before[1:] else {})
        elif any(directory.iterdir()):
            raise RunError(
                f"{directory}, which is already used for something else", "a new folder", "choose another --name"
            )
        run.write_json("config.json", record)
        (directory / "figures").mkdir(exist_ok=True)
    except (OSError, json.JSONDecodeError, KeyError) as error:
        raise RunError(
            f"{directory}, which cannot be used: {error}",
            "a folder that can be written",
            "choose another --runs-dir or --name",
        ) from error
    return run
