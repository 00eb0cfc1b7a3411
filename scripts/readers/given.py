"""What was given on the command line, and what was not."""

from argparse import Namespace
from collections.abc import Sequence


def absent(arguments: Namespace, classes: Sequence[str] | None) -> bool:
    """Whether some of the classes may be absent from a data set: those of a model or of the training split, but not
    those of --classes, which may be misspelt."""
    return classes is not None and classes is not arguments.classes
