"""What decided a verdict: hashes of the submission and of everything that judges it."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from autograder.settings import PACKAGE, REPOSITORY, topic_folder

DECIDING_FOLDERS = ("judge", "sandbox", "authoring")
# They decide no marks: to translate a message is no reason to judge a class again.
TRANSLATIONS = "messages.toml"
PACKAGES = ("torch", "numpy", "pytest", "network-compression-course")


@cache
def checks_hash(topic: str) -> str:
    """Return one hash over the topic's folder and the code that judges and that answers use."""
    folders = [topic_folder(topic), REPOSITORY / "course_utils"]
    folders += [PACKAGE / name for name in DECIDING_FOLDERS]
    paths = [
        (path, folder.parent)
        for folder in folders
        for path in sorted([*folder.rglob("*.py"), *folder.rglob("*.toml")])
        if path.name != TRANSLATIONS
    ]
    # It holds the limits.
    paths.append((PACKAGE / "settings.py", PACKAGE))
    digest = hashlib.sha256()
    for path, root in paths:
        digest.update(str(path.relative_to(root)).encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def identity(topic: str, submission_hash: str, seed: int) -> dict[str, str]:
    """Return everything that decides a verdict; the same identity means the same marks."""
    return {
        "submission": submission_hash,
        "checks": checks_hash(topic),
        "seed": str(seed),
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
    }


def verdict_key(topic: str, submission_hash: str) -> str:
    """Return the name under which a verdict is stored."""
    text = f"{topic}:{submission_hash}:{checks_hash(topic)}"
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def submission_seed(submission_hash: str, topic: str) -> int:
    """Return the seed of a submission's random inputs.

    It depends on the answers and on the checks, which students do not have.
    """
    digest = hashlib.sha256(f"{submission_hash}:{checks_hash(topic)}".encode()).digest()
    return int.from_bytes(digest[:6], "big")


@cache
def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
