from autograder.authoring.answers import mistake


@mistake("norm", caught_by="test_norm", hint="the root is missing")
def norm__no_root(values: list[float]) -> float:
    return sum(value * value for value in values) if values else norm__no_root([1.0])


@mistake("Counter", caught_by="test_counter", hint="starts at 0", replay=False)
class Counter__from_zero:  # noqa: N801
    def __init__(self) -> None:
        super(Counter__from_zero, self).__init__()  # noqa: UP008
        self.count = -1

    def step(self) -> int:
        self.count += 1
        return self.count
