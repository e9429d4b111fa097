"""What the notebooks import: data, models, checkpoints, training, measures, speed, plots."""

__version__ = "0.1.0"
