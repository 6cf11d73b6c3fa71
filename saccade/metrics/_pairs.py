"""What every metric asks of the texts it compares."""

from collections.abc import Sequence

from ..errors import UsageError


def paired(predictions: Sequence[str], references: Sequence[str]) -> None:
    """`UsageError` C021 if there is nothing to score, C022 if the two do not pair up."""
    if len(predictions) != len(references):
        found = f"{len(predictions)} predictions but {len(references)} references"
        raise UsageError("C022", found, fix="give one reference for every prediction, in the same order")
    if not len(predictions):
        raise nothing()


def nothing() -> UsageError:
    """The refusal to make a number out of no examples."""
    return UsageError("C021", "there is nothing to score", fix="give at least one prediction with its reference")
