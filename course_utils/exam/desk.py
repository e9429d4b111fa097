"""What all parts of the exam practice share: bank, history, cards, and the language."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from course_utils.exam.history import History
from course_utils.exam.items import Bank, load_bank
from course_utils.exam.scheduling import Deck
from course_utils.exam.store import practice_folder


@dataclass
class Desk:
    """A student's place: what is asked, and what is kept.

    Attributes:
        folder: where files are kept.
        bank: all questions.
        language: "en" or "zh".
    """

    folder: Path = field(default_factory=practice_folder)
    bank: Bank = field(default_factory=load_bank)
    language: str = "en"

    def __post_init__(self) -> None:
        self.history = History(self.folder / "history.jsonl")
        self.deck = Deck(self.folder / "cards.json")

    @property
    def mock_file(self) -> Path:
        """The file of the mock exam under way."""
        return self.folder / "mock_exam.json"
