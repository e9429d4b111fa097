"""Verdicts on disk, found again by the content that decided them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from autograder.files import write_whole
from autograder.judge.verdict import Verdict


class VerdictStore:
    """A folder with one JSON file for each key.

    Files are written whole or not at all. Each holds a checksum, so that one that was damaged
    later counts as missing and is made anew.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> Verdict | None:
        """Return the verdict under `key`; None when there is none, or it cannot be trusted."""
        return _read(self._path(key))

    def put(self, key: str, verdict: Verdict) -> None:
        """Keep `verdict` under `key`.

        Raises:
            OSError: the disk is full, or the folder may not be written.
        """
        data = verdict.model_dump(mode="json")
        content = {"key": key, "sha256": _checksum(key, data), "verdict": data}
        write_whole(self._path(key), json.dumps(content, indent=1))

    def all(self) -> Iterator[tuple[float, Verdict]]:
        """Yield every verdict that can be read, with the time when it was kept."""
        for path in sorted(self.folder.glob("*.json")):
            verdict = _read(path)
            if verdict is not None:
                yield path.stat().st_mtime, verdict

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"


def _read(path: Path) -> Verdict | None:
    try:
        content = json.loads(path.read_bytes())
        if content["sha256"] != _checksum(path.stem, content["verdict"]):
            return None
        return Verdict.model_validate(content["verdict"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _checksum(key: str, data: object) -> str:
    text = json.dumps([key, data], sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
