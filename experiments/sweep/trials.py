"""The durable table of a sweep in SQLite: one row a trial, with its owner, its state and its result.

Any number of processes on any number of machines may work through one table. These rules keep them apart:

- A trial's id is the SHA-256 of its whole configuration, with the data's fingerprint, and the table's primary key.
- A trial is *claimed* in an immediate transaction before it is trained. The claim is a lease that its owner renews
  while it lives. When the lease has run out, the owner counts as dead and the next process that asks takes the trial.
- Only the process that holds the claim writes a result. A process that lost it, for example after the machine slept, is
  told so.

The journal is SQLite's rollback journal, with a busy timeout for a process that finds the table locked. The write-ahead
log would let readers go on during a write, but its shared memory binds all processes to one host, and a sweep writes
only a few rows a minute. The rollback journal needs reliable locks. Local disks have them, and so do network file
systems with POSIX locks (NFSv4, Lustre with `flock`, GPFS). On a file system without reliable locks, let one process
write, as with the driver of a Ray cluster, and keep its table on a local disk. The clocks of machines that share a
table must differ by much less than a lease.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import socket
import sqlite3
import threading
import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from jaxunreg.errors import ArgumentError, JaxunregError, argument

State = Literal["claimed", "done", "failed"]

# Marks the file as a table of trials; "trls".
_APPLICATION_ID = 0x74726C73
_SCHEMA = f"""
PRAGMA application_id = {_APPLICATION_ID};
CREATE TABLE IF NOT EXISTS trials (
  id       TEXT PRIMARY KEY,
  config   TEXT NOT NULL,
  state    TEXT NOT NULL CHECK (state IN ('claimed', 'done', 'failed')),
  owner    TEXT NOT NULL,
  lease    REAL NOT NULL,
  attempts INTEGER NOT NULL,
  claimed  REAL NOT NULL,
  finished REAL,
  result   TEXT,
  error    TEXT,
  CHECK ((state = 'done') = (result IS NOT NULL)),
  CHECK ((state = 'failed') = (error IS NOT NULL))
);
"""


class TrialTableError(JaxunregError, OSError):
    """A table of trials that cannot be read or written."""


class Trial(NamedTuple):
    """A row of the table.

    Attributes:
      id: SHA-256 of the configuration.
      config: the configuration, JSON data.
      state: `claimed` (someone trains it, or died while training it), `done` or `failed`.
      owner: who claimed it last.
      lease: until when the claim holds, in seconds since the epoch.
      attempts: how often it was begun.
      claimed: when it was claimed last, in seconds since the epoch.
      finished: when its result or its error was written; None before.
      result: JSON data where it is done.
      error: the error where it failed.
    """

    id: str
    config: dict[str, Any]
    state: State
    owner: str
    lease: float
    attempts: int
    claimed: float
    finished: float | None
    result: dict[str, Any] | None
    error: str | None


def trial_id(config: Mapping[str, Any]) -> str:
    """SHA-256 of a configuration as JSON with sorted keys: the order in which it was written down does not matter.

    >>> trial_id({"seed": 0, "latent_dim": 20}) == trial_id({"latent_dim": 20, "seed": 0})
    True
    """
    text = json.dumps(dict(config), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclasses.dataclass
class TrialTable:
    """A table of trials on disk, which is made if it does not exist, as seen by one worker.

    Every call opens the file, does one transaction and closes it, so that an object may be used by several threads.

    Attributes:
      path: the file.
      lease_seconds: how long a claim holds without being renewed.
      owner: name of this worker; by default host, process and a random part, since process numbers come again.

    Raises:
      TrialTableError: the file cannot be written or is something else. All methods raise it, too.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = TrialTable(Path(folder, "trials.sqlite"))
    ...     mine = table.claim([{"seed": 0}, {"seed": 1}])
    ...     _ = table.finish(mine[0], {"auc": 0.9})
    ...     again = table.claim([{"seed": 0}, {"seed": 1}])
    ...     [(trial.config, trial.state, trial.result) for trial in table.trials()], again
    ([({'seed': 0}, 'done', {'auc': 0.9}), ({'seed': 1}, 'claimed', None)], [])
    """

    path: Path
    lease_seconds: float = 60.0
    owner: str = dataclasses.field(
        default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    )

    BUSY_SECONDS = 60.0

    def __post_init__(self) -> None:
        if not self.lease_seconds > 0:
            raise ArgumentError(argument("lease_seconds", self.lease_seconds), "more than zero")
        with self._transaction() as connection:
            (found,) = connection.execute("PRAGMA application_id").fetchone()
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if found != _APPLICATION_ID and tables:
                raise TrialTableError(
                    f"{self.path}, a database of something else", "a table of trials", "choose another file"
                )
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)

    def claim(
        self, configs: Collection[Mapping[str, Any]], *, retry_failed: bool = False, attempts: int = 5
    ) -> list[str]:
        """Claim the free ones among these trials, in one transaction.

        A trial is free if it is not in the table, or if its owner's lease has run out. A trial whose owner died
        `attempts` times is marked as failed instead.

        Args:
          configs: configurations, JSON data.
          retry_failed: failed trials are free, too.
          attempts: how often a trial may be started.

        Returns:
          Ids of the trials that are now this owner's, in the order of `configs`.
        """
        now = time.time()
        statement = """
            INSERT INTO trials (id, config, state, owner, lease, attempts, claimed)
            VALUES (?, ?, 'claimed', ?, ?, 1, ?)
            ON CONFLICT (id) DO UPDATE SET
              state = 'claimed', owner = excluded.owner, lease = excluded.lease, claimed = excluded.claimed,
              attempts = CASE state WHEN 'failed' THEN 1 ELSE attempts + 1 END, finished = NULL, error = NULL
            WHERE (state = 'claimed' AND lease < excluded.claimed) OR (state = 'failed' AND ?)
        """
        mine = []
        with self._transaction() as connection:
            for config in configs:
                key, text = trial_id(config), json.dumps(dict(config))
                connection.execute(
                    "UPDATE trials SET state = 'failed', error = ?, finished = ? "
                    "WHERE id = ? AND state = 'claimed' AND lease < ? AND attempts >= ?",
                    (f"begun {attempts} times, and whoever trained it died each time", now, key, now, attempts),
                )
                row = (key, text, self.owner, now + self.lease_seconds, now, retry_failed)
                if connection.execute(statement, row).rowcount == 1:
                    mine.append(key)
        return mine

    def begin_again(self, keys: Collection[str]) -> None:
        """Count another attempt for trials of this owner whose worker died."""
        with self._transaction() as connection:
            connection.executemany(
                "UPDATE trials SET attempts = attempts + 1 WHERE id = ? AND owner = ? AND state = 'claimed'",
                [(key, self.owner) for key in keys],
            )

    def renew(self) -> None:
        """Extend all claims of this owner to a whole lease from now."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE trials SET lease = ? WHERE owner = ? AND state = 'claimed'",
                (time.time() + self.lease_seconds, self.owner),
            )

    @contextlib.contextmanager
    def renewing(self) -> Iterator[None]:
        """Renew this owner's claims in a thread while the body runs. Afterwards, release those that are left."""
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(self.lease_seconds / 4):
                # The claims are lost only if the table is out of reach for a whole lease.
                with contextlib.suppress(TrialTableError):
                    self.renew()

        thread = threading.Thread(target=beat, name="renew-claims", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self.release()

    def release(self) -> None:
        """Release all claims of this owner. Others may claim them at once, and they count as not started."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE trials SET lease = 0, attempts = attempts - 1 WHERE owner = ? AND state = 'claimed'",
                (self.owner,),
            )

    def finish(self, key: str, result: Mapping[str, Any]) -> bool:
        """Write the result of a trial that is this owner's.

        Returns:
          Whether it was written. If not, the claim was lost and another owner's result counts.
        """
        return self._end(key, "done", json.dumps(dict(result), allow_nan=False), None)

    def fail(self, key: str, error: str) -> bool:
        """Write why a trial of this owner failed, and return what `finish` returns."""
        return self._end(key, "failed", None, error)

    def trials(self, keys: Collection[str] | None = None) -> list[Trial]:
        """Return the rows with these ids, or all, in the order of their first claims."""
        with self._transaction("DEFERRED") as connection:
            rows = connection.execute(f"SELECT {', '.join(Trial._fields)} FROM trials ORDER BY rowid").fetchall()
        found = [Trial(*row) for row in rows]
        return [
            trial._replace(
                config=json.loads(str(trial.config)),
                result=None if trial.result is None else json.loads(str(trial.result)),
            )
            for trial in found
            if keys is None or trial.id in keys
        ]

    def _end(self, key: str, state: State, result: str | None, error: str | None) -> bool:
        with self._transaction() as connection:
            changed = connection.execute(
                "UPDATE trials SET state = ?, result = ?, error = ?, finished = ? "
                "WHERE id = ? AND owner = ? AND state = 'claimed'",
                (state, result, error, time.time(), key, self.owner),
            )
            return changed.rowcount == 1

    @contextlib.contextmanager
    def _transaction(self, kind: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        try:
            with contextlib.closing(
                sqlite3.connect(self.path, timeout=self.BUSY_SECONDS, isolation_level=None)
            ) as connection:
                connection.execute(f"BEGIN {kind}")
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
        except sqlite3.Error as error:
            raise TrialTableError(
                f"{self.path}, which cannot be used: {error}",
                "a table of trials in a folder that can be written, on a file system with locks",
                "choose another file",
            ) from error
