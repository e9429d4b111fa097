"""What the judge says of one submission: plain data that survives a round trip through JSON."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class CheckVerdict(BaseModel):
    """The outcome of one check."""

    model_config = ConfigDict(extra="forbid")

    name: str
    passed: bool
    weight: float = Field(ge=0, allow_inf_nan=False)
    gate: bool = False
    message: str = ""
    mistake: str | None = None
    seconds: float = Field(0.0, ge=0, allow_inf_nan=False)


class ExerciseVerdict(BaseModel):
    """The points of one exercise, with the checks they come from.

    A failed gate costs the whole exercise; the other checks share its points by weight.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    points: float = Field(ge=0, allow_inf_nan=False)
    max_points: float = Field(gt=0, allow_inf_nan=False)
    checks: list[CheckVerdict]
    message: str = ""

    @classmethod
    def from_checks(
        cls, name: str, max_points: float, checks: list[CheckVerdict], message: str = ""
    ) -> ExerciseVerdict:
        """Compute the points from the checks; no checks at all is no points."""
        total = sum(check.weight for check in checks)
        earned = sum(check.weight for check in checks if check.passed)
        gates_hold = all(check.passed for check in checks if check.gate)
        points = round(max_points * earned / total, 2) if total and gates_hold else 0.0
        return cls(name=name, points=points, max_points=max_points, checks=checks, message=message)


class Verdict(BaseModel):
    """The judgement of one submission, and the identity of everything that decided it."""

    model_config = ConfigDict(extra="forbid")

    topic: str
    student: str = ""
    exercises: list[ExerciseVerdict]
    problems: list[str] = Field(default_factory=list)
    needs_review: bool = False
    mode: str = "definitions"
    board: dict[str, float] = Field(
        default_factory=dict, description="figures for the class leaderboard, smaller is better"
    )
    identity: dict[str, str] = Field(default_factory=dict)
    seconds: float = Field(0.0, ge=0, allow_inf_nan=False)
    peak_memory: int = Field(0, ge=0, description="bytes, all sandboxed processes together")

    @property
    def points(self) -> float:
        """Points earned in all exercises."""
        return round(sum(exercise.points for exercise in self.exercises), 2)

    @property
    def max_points(self) -> float:
        """Points there are in all exercises."""
        return round(sum(exercise.max_points for exercise in self.exercises), 2)

    def exercise(self, name: str) -> ExerciseVerdict:
        """Return the verdict on one exercise.

        Raises:
            KeyError: the verdict holds no such exercise.
        """
        for exercise in self.exercises:
            if exercise.name == name:
                return exercise
        raise KeyError(name)
