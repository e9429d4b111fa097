"""Verdicts on disk, found again by the content that decided them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from pydantic import ValidationError

from autograder.judge.verdict import Verdict


class VerdictStore:
    """A folder with one JSON file for each key; files are written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> Verdict | None:
        """Return the verdict under `key`; None when there is none, or it cannot be read."""
        path = self._path(key)
        try:
            return Verdict.model_validate_json(path.read_bytes())
        except (FileNotFoundError, ValidationError, ValueError):
            return None

    def put(self, key: str, verdict: Verdict) -> None:
        """Keep `verdict` under `key`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=self.folder, prefix=".", suffix=".part")
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(verdict.model_dump_json(indent=1))
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self._path(key))
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"
