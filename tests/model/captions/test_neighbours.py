"""What stands in a context is counted, and only what differs from what is written without one is kept."""

from captionloop.model.captions.neighbours import Met, Neighbours, Place, learn


def met(*found: tuple[str, str], otherwise: str = "sign") -> list[Met[str]]:
    """The form of "sign" between two words, given as "before after"."""
    neighbours = [(*context.split(), form) for context, form in found]
    return [Met(Place(before, "sign", after), form, otherwise) for before, after, form in neighbours]


def test_nothing_is_kept_of_what_is_right_anyway() -> None:
    assert learn(met(("stop on", "sign"), ("red in", "sign"))) == Neighbours()


def test_the_nearest_context_decides() -> None:
    known = learn(met(("american language", "Sign"), ("american language", "Sign"), ("american post", "sign")))
    assert known.at(Place("american", "sign", "language")) == "Sign"
    assert known.at(Place("american", "sign", "post")) is None or known.at(Place("american", "sign", "post")) == "sign"
    assert known.at(Place("stop", "sign", "on")) is None


def test_one_neighbour_has_to_be_met_twice() -> None:
    once = learn(met(("british language", "Sign")))
    assert once.at(Place("british", "sign", "language")) == "Sign"
    assert once.at(Place("british", "sign", "post")) is None
    twice = learn(met(("british language", "Sign"), ("british system", "Sign")))
    assert twice.at(Place("british", "sign", "post")) == "Sign"


def test_a_context_without_a_majority_says_nothing() -> None:
    assert learn(met(("a b", "Sign"), ("a b", "sign"))) == Neighbours()
