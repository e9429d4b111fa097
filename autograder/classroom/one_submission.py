"""Judges one submission in a process of its own: `python -m … SUBMISSION TOPIC STUDENT OUTPUT`.

The verdict goes to the file OUTPUT and not to the standard output, where a library could print.
"""

from __future__ import annotations

import ctypes
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Judge one submission and write the verdict as JSON."""
    submission, topic, student, output = arguments
    # When the batch is killed, this process must not go on alone.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    import torch

    from autograder.judge.judge import judge_submission

    # As many processes as there are cores run at the same time: one thread for each.
    torch.set_num_threads(1)
    verdict = judge_submission(Path(submission), topic, student)
    Path(output).write_text(verdict.model_dump_json(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
