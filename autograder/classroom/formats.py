"""Who reads an exported file."""

from enum import StrEnum


class Format(StrEnum):
    """Who is to read an exported file."""

    PLAIN = "plain"
    MOODLE = "moodle"
    CANVAS = "canvas"
