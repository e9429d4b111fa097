from autograder.authoring.answers import mistake


@mistake("halve", caught_by="test_halves", hint="doubles instead of halving")
def halve__doubled(x):
    return x * 2


@mistake("halve", caught_by="test_leaves_x_alone", hint="changes x itself")
def halve__in_place(x):
    return x.div_(2)
