"""How sure a comparison is, in words: one wording for the gate's reason, the report and the pages."""

CLOSE = "too close to call"
_SURE = 0.975  # as one end of a 95 % interval
_PROBABLE = 0.8
_ODDS = ((3, 5), (2, 3), (3, 4), (4, 5), (9, 10), (19, 20))


def verdict(probability: float) -> str:
    """What to call a candidate that is better with this probability, 0 to 1."""
    is_better = probability > 0.5
    chance = max(probability, 1 - probability)
    direction = "better" if is_better else "worse"
    if chance >= _SURE:
        return direction
    if chance >= _PROBABLE:
        return f"probably {direction} ({odds(chance)})"
    return CLOSE


def odds(probability: float) -> str:
    """A probability of more than a half in words, as "19 in 20", never rounded up."""
    reached = [pair for pair in _ODDS if pair[0] / pair[1] <= probability + 1e-9]
    return "{} in {}".format(*reached[-1]) if reached else "1 in 2"
