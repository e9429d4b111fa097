"""Words that commands take."""

from enum import StrEnum

# In place of a topic's name: every topic.
ALL = "all"


class Format(StrEnum):
    """Who is to read an exported file."""

    PLAIN = "plain"
    MOODLE = "moodle"
    CANVAS = "canvas"
