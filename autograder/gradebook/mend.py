"""Completes a gradebook whose making was cut off."""

from __future__ import annotations

from nbgrader.api import get_alembic_version
from sqlalchemy import create_engine, inspect, text

from autograder import settings
from autograder.gradebook.marks import database_url
from autograder.gradebook.patience import wait_for_locks

VERSION_TABLE = "alembic_version"


def mend_gradebook() -> bool:
    """Write the version of its tables into a gradebook that lacks it; tell whether it did.

    nbgrader makes the tables first and notes their version afterwards, and only where there was no
    table at all. Without it, `nbgrader db upgrade` fails for ever. Missing tables it makes itself.
    """
    url = database_url()
    if url.startswith("sqlite:///"):
        path = settings.COURSE / url.removeprefix("sqlite:///")
        # Opening a missing one would make an empty one.
        if not path.is_file():
            return False
    wait_for_locks()
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            tables = inspect(connection).get_table_names()
            if not tables:
                return False
            if VERSION_TABLE not in tables:
                columns = "(version_num VARCHAR(32) NOT NULL)"
                connection.execute(text(f"CREATE TABLE {VERSION_TABLE} {columns}"))
            if connection.execute(text(f"SELECT * FROM {VERSION_TABLE}")).first() is not None:
                return False
            row = {"version": get_alembic_version()}
            connection.execute(text(f"INSERT INTO {VERSION_TABLE} VALUES (:version)"), row)
            return True
    finally:
        engine.dispose()
