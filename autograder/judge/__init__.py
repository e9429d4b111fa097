"""Judging: from one submission to one verdict, in the trusted process."""
