from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys, time
import torch, numpy, safetensors.torch, torch.utils.data, torch.optim.lr_scheduler
started = time.process_time()
import course_utils
from course_utils import checkpoints, data, evaluation, measures, models, plots, speed
from course_utils import training, widgets
print(time.process_time() - started)
late = {"matplotlib", "ipywidgets", "torchvision", "torch.utils.flop_counter"}
print(sorted(late & set(sys.modules)), course_utils.__version__)
"""


def test_importing_everything_takes_little_beyond_torch() -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    seconds, late = run.stdout.splitlines()
    assert float(seconds) < 0.3
    assert late == "[] 0.1.0"
