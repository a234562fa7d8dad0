"""The ledger: `DIR/ledger.sqlite`, the truth about a batch.

A task goes `waiting → sent → answered → completed`, or to `failed`. Every change is one transaction that survives the end of the process
(WAL); a power loss may undo the latest ones, never half of one.
"""

import json
import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from batch.values import Answer, Item, Task, WrongUse

NAME = "ledger.sqlite"
#: Version of the tables; a file of another version is refused.
VERSION = 1
#: Milliseconds that a write waits for the other connection of the same run, which keeps digests.
BUSY_MS = 20_000
#: KiB of pages that a connection keeps in memory.
CACHE_KIB = 512

_TABLES = """
-- Items are what the source named, in its order; `run` is the last run that saw them.
CREATE TABLE IF NOT EXISTS items (
    id TEXT PRIMARY KEY, position INTEGER NOT NULL, run INTEGER NOT NULL, origin TEXT NOT NULL, photo TEXT,
    task TEXT NOT NULL, placed INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS items_by_task ON items (task, placed);
CREATE INDEX IF NOT EXISTS items_by_position ON items (position);
-- Tasks are what was or will be drawn. `tries`: answers so far; `not_before` and `ended`: seconds since the epoch; `seconds`: of execution,
-- all tries together, and what they cost.
CREATE TABLE IF NOT EXISTS tasks (
    key TEXT PRIMARY KEY, position INTEGER NOT NULL, run INTEGER NOT NULL, job TEXT NOT NULL, photo TEXT, matte TEXT,
    state TEXT NOT NULL DEFAULT 'waiting', not_before REAL NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0,
    endpoint TEXT, remote TEXT, result TEXT, files TEXT, shown TEXT, error TEXT, passing INTEGER NOT NULL DEFAULT 0,
    seconds REAL NOT NULL DEFAULT 0, cost REAL NOT NULL DEFAULT 0, ended REAL
) STRICT;
CREATE INDEX IF NOT EXISTS tasks_by_state ON tasks (state, run, position);
-- Digests of files that were read, so that an unchanged file is not read again.
CREATE TABLE IF NOT EXISTS digests (path TEXT PRIMARY KEY, stamp TEXT NOT NULL, digest TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
"""

_TASK = "key, job, photo, matte, tries, remote"


def text_of(path: Path | str) -> str:
    """A path as a text that can be stored: one whose name is no UTF-8 as a file:// address."""
    text = str(path)
    try:
        text.encode()
    except UnicodeEncodeError:
        return f"file://{quote(os.fsencode(text))}"
    return text


def path_of(text: str | None) -> Path | None:
    """The path of which `text_of` made the text."""
    if text is not None and text.startswith("file://"):
        return Path(os.fsdecode(unquote_to_bytes(text.removeprefix("file://"))))
    return None if text is None else Path(text)


def connect(path: Path) -> sqlite3.Connection:
    """A connection to the ledger's file, whose tables are there. Raises `WrongUse` for a file that is none of ours."""
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, VERSION):
            raise WrongUse(f"{path} is of another version of this program ({version}, not {VERSION}); name a new folder.")
        connection.executescript(
            f"PRAGMA busy_timeout={BUSY_MS}; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-{CACHE_KIB}; {_TABLES}"
        )
        connection.execute(f"PRAGMA user_version={VERSION}")
    except sqlite3.DatabaseError as error:
        raise WrongUse(f"{path} cannot be used as a ledger: {error}.") from error
    return connection


@dataclass(frozen=True, slots=True)
class Count:
    """How the items of a run stand, and what all tasks of the ledger have cost so far."""

    items: int
    completed: int
    failed: int


@dataclass(frozen=True, slots=True)
class Row:
    """An item that was answered, for the results. `shown`: what the gallery knows of its pictures; `first`: the first item of its task."""

    id: str
    origin: str
    photo: Path | None
    task: str
    placed: bool
    state: str
    tries: int
    result: Mapping[str, Any] | None
    shown: Mapping[str, Any]
    error: str | None
    seconds: float
    cost: float
    first: str


class Ledger:
    """The open ledger of one run. `run` numbers the runs of a folder; `spent` and `answers` are what all tasks cost and how often they were
    answered; `changes` grows with everything that the results tell."""

    def __init__(self, folder: Path) -> None:
        self._db = connect(folder / NAME)
        self.run = 1 + (self._db.execute("SELECT max(run) FROM items").fetchone()[0] or 0)
        self.secret = self._fact("secret", secrets.token_urlsafe(24))
        spent, answers = self._db.execute("SELECT total(cost), total(tries) FROM tasks").fetchone()
        self.spent, self.answers = float(spent), int(answers)
        self.changes = 0

    def _fact(self, name: str, value: str) -> str:
        self._db.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", (name, value))
        return str(self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # --- what the source names ---------------------------------------------------------------------------------------

    def add(self, items: Iterable[tuple[int, Item]]) -> int:
        """Note items with their positions, all or none; how many of them are new or have changed."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            return sum(self._add(position, item) for position, item in items)

    def _add(self, position: int, item: Item) -> bool:
        key, photo, matte = item.task, *(None if path is None else text_of(path) for path in (item.photo, item.matte))
        before = self._db.execute("SELECT task FROM items WHERE id = ?", (item.id,)).fetchone()
        self._db.execute(
            "INSERT INTO items (id, position, run, origin, photo, task) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
            " position = excluded.position, run = excluded.run, origin = excluded.origin, photo = excluded.photo,"
            " placed = placed AND task = excluded.task, task = excluded.task",
            (item.id, position, self.run, item.origin, photo, key),
        )
        self._db.execute(
            "INSERT INTO tasks (key, position, run, job, photo, matte) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET"
            " position = CASE WHEN run = excluded.run THEN min(position, excluded.position) ELSE excluded.position END, run = excluded.run,"
            " photo = excluded.photo, matte = excluded.matte,"
            " job = CASE WHEN state = 'waiting' AND run <> excluded.run THEN excluded.job ELSE job END",
            (key, position, self.run, json.dumps(dict(item.keys)), photo, matte),
        )
        return before is None or before[0] != key

    # --- the work ----------------------------------------------------------------------------------------------------

    def try_failed_again(self, retries: int) -> None:
        """Let tasks of this run wait again whose failure may pass and that were tried less often than is allowed by now."""
        self._db.execute(
            "UPDATE tasks SET state = 'waiting' WHERE state = 'failed' AND passing AND tries <= ? AND run = ?", (retries, self.run)
        )

    def next(self, now: float, without: Iterable[str]) -> Task | None:
        """The first task of this run that waits and may be sent by now, and is not among those at work."""
        at_work = list(without)
        marks = ",".join("?" * len(at_work))
        row = self._db.execute(
            f"SELECT {_TASK} FROM tasks WHERE state = 'waiting' AND run = ? AND not_before <= ? AND key NOT IN ({marks})"
            " ORDER BY position LIMIT 1",
            (self.run, now, *at_work),
        ).fetchone()
        return None if row is None else _task(row)

    def waiting(self) -> bool:
        """Whether a task of this run waits."""
        found = self._db.execute("SELECT 1 FROM tasks WHERE state = 'waiting' AND run = ? LIMIT 1", (self.run,)).fetchone()
        return found is not None

    def left(self, state: str, endpoint: str | None = None) -> list[Task]:
        """The tasks that an earlier run left in a state, at this endpoint or wherever."""
        where, given = ("", ()) if endpoint is None else (" AND endpoint = ?", (endpoint,))
        rows = self._db.execute(f"SELECT {_TASK} FROM tasks WHERE state = ?{where} ORDER BY position", (state, *given))
        return [_task(row) for row in rows]

    def forget_elsewhere(self, endpoint: str) -> None:
        """Tasks that were sent to another endpoint wait again."""
        self._db.execute("UPDATE tasks SET state = 'waiting', remote = NULL WHERE state = 'sent' AND endpoint <> ?", (endpoint,))

    def sent(self, key: str, remote: str, endpoint: str) -> None:
        """A task is at an endpoint, under this id."""
        self._db.execute("UPDATE tasks SET state = 'sent', remote = ?, endpoint = ? WHERE key = ?", (remote, endpoint, key))

    def unsent(self, key: str) -> None:
        """A task is at no endpoint and has no answer: it waits again."""
        self._db.execute("UPDATE tasks SET state = 'waiting', remote = NULL WHERE key = ?", (key,))

    def answered(
        self, key: str, answer: Answer, cost: float, now: float, *, again_at: float | None = None, shown: Mapping[str, Any] | None = None
    ) -> None:
        """Record an answer. `again_at`: when a failure that may pass is tried again; None where it is not. `shown` where the task's files
        are here already."""
        made, missed = "answered" if shown is None else "completed", "failed" if again_at is None else "waiting"
        state = made if answer.error is None else missed
        self._db.execute(
            "UPDATE tasks SET state = ?, remote = CASE ? WHEN 'answered' THEN remote END, tries = tries + 1, not_before = ?, result = ?,"
            " files = ?, shown = ?, error = ?, passing = ?, seconds = seconds + ?, cost = cost + ?, ended = ? WHERE key = ?",
            (
                state, state, again_at or 0.0, None if answer.result is None else json.dumps(answer.result), json.dumps(dict(answer.files)),
                None if shown is None else json.dumps(dict(shown)), answer.error, answer.passing, answer.seconds, cost, now, key,
            ),
        )  # fmt: skip
        self.spent, self.answers, self.changes = self.spent + cost, self.answers + 1, self.changes + 1

    def answer(self, key: str) -> tuple[dict[str, Any], dict[str, str]]:
        """The result of a task that was answered, and where its files lie: name → address."""
        result, files = self._db.execute("SELECT result, files FROM tasks WHERE key = ?", (key,)).fetchone()
        return dict(json.loads(result)), dict(json.loads(files))

    def completed(self, key: str, shown: Mapping[str, Any]) -> None:
        """A task's files are here."""
        self._db.execute("UPDATE tasks SET state = 'completed', error = NULL, shown = ? WHERE key = ?", (json.dumps(dict(shown)), key))

    def not_fetched(self, key: str, error: str) -> None:
        """A task's files could not be fetched: it stays answered, and the next run tries again to fetch them."""
        self._db.execute("UPDATE tasks SET error = ? WHERE key = ?", (error, key))
        self.changes += 1

    def unplaced(self, key: str) -> list[str]:
        """The ids of a task's items that have not got its files yet."""
        return [row[0] for row in self._db.execute("SELECT id FROM items WHERE task = ? AND NOT placed", (key,))]

    def placed(self, key: str) -> None:
        """All of a task's items have its files."""
        self._db.execute("UPDATE items SET placed = 1 WHERE task = ? AND NOT placed", (key,))
        self.changes += 1

    def late(self, since: int = 0) -> list[str]:
        """The completed tasks of which an item, from this position on, has not got its files yet."""
        rows = self._db.execute(
            "SELECT DISTINCT t.key FROM items i JOIN tasks t ON t.key = i.task"
            " WHERE i.position >= ? AND NOT i.placed AND t.state = 'completed'",
            (since,),
        )
        return [row[0] for row in rows]

    # --- what is told ------------------------------------------------------------------------------------------------

    def count(self) -> Count:
        """How this run's items stand."""
        row = self._db.execute(
            "SELECT count(*), total(t.state = 'completed'), total(t.state = 'failed' OR (t.state = 'answered' AND t.error IS NOT NULL))"
            " FROM items i JOIN tasks t ON t.key = i.task WHERE i.run = ?",
            (self.run,),
        ).fetchone()
        return Count(int(row[0]), int(row[1]), int(row[2]))

    def failures(self) -> Iterator[tuple[str, str]]:
        """Id and error of this run's failed items, in order."""
        return self._db.execute(
            "SELECT i.id, t.error FROM items i JOIN tasks t ON t.key = i.task WHERE i.run = ? AND t.error IS NOT NULL"
            " AND t.state IN ('failed', 'answered') ORDER BY i.position",
            (self.run,),
        )

    def rows(self) -> Iterator[Row]:
        """All items that were answered, in order, one at a time: from a connection of its own, which sees one moment."""
        path = self._db.execute("PRAGMA database_list").fetchone()[2]
        reader = connect(Path(path))
        try:
            for row in reader.execute(
                "SELECT i.id, i.origin, i.photo, i.task, i.placed, t.state, t.tries, t.result, t.shown, t.error, t.seconds, t.cost,"
                " (SELECT o.id FROM items o WHERE o.task = i.task ORDER BY o.position, o.id LIMIT 1)"
                " FROM items i JOIN tasks t ON t.key = i.task"
                " WHERE t.state IN ('completed', 'failed') OR (t.state = 'answered' AND t.error IS NOT NULL)"
                " ORDER BY i.position, i.id"
            ):
                yield Row(
                    row[0], row[1], path_of(row[2]), row[3], bool(row[4]), row[5], row[6], json.loads(row[7]) if row[7] else None,
                    json.loads(row[8]) if row[8] else {}, row[9], row[10], row[11], row[12],
                )  # fmt: skip
        finally:
            reader.close()


def _task(row: tuple[Any, ...]) -> Task:
    key, job, photo, matte, tries, remote = row
    return Task(key, json.loads(job), path_of(photo), path_of(matte), tries, remote)
