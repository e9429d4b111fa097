"""A gradebook that another program holds is waited for, and not given up after five seconds."""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

LOCK_SECONDS = 60


def wait_for_locks() -> None:
    """Have every SQLite database that this process opens wait for other programs' locks."""
    if not event.contains(Engine, "connect", _be_patient):
        event.listen(Engine, "connect", _be_patient)


def _be_patient(connection: Any, _record: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute(f"PRAGMA busy_timeout = {LOCK_SECONDS * 1000}")
