"""What students upload: zips, and files of other kinds, as `autograder collect` finds them."""

from __future__ import annotations

from dataclasses import dataclass

from tests.classroom.test_collect import HOSTILE

FAMILY = "uploads"
TRIES = {
    "bomb": "25 MB of zeros in a few KB",
    "large": "unpacks to more than a notebook may have",
    "lying": "says that it unpacks to 100 kB, and has 40 MB",
    "parent": "a path that leads out of the zip (`../..`)",
    "absolute": "an absolute path",
    "drive": "a path with a drive of Windows",
    "backslash": "a path that leads out, with a backslash",
    "unseen": "a name with marks of direction, to look like another",
    "long": "a name of 400 characters",
    "link": "a link to `/etc/passwd`",
    "device": "a device",
    "pipe": "a pipe",
    "encrypted": "encrypted, so that nobody can look into it",
    "broken": "broken after the first bytes",
    "empty": "empty",
    "nested": "a zip in the zip",
    "no_notebook": "no notebook",
    "other_topic": "the notebook of another topic",
    "two": "two notebooks",
}


@dataclass(frozen=True)
class Upload:
    """One hostile zip: its name, what it tries, and the reason that must be given."""

    name: str
    tries: str
    reason: str


UPLOADS = [Upload(f"zip_{name}", TRIES[name], reason) for name, (_, reason) in HOSTILE.items()]
