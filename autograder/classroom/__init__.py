"""A whole class: the demo class, grading many submissions, the report on them."""
