"""The autograder: builds the notebooks and judges what students hand in."""
