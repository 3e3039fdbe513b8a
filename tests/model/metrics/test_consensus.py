import pytest

from captionloop.model.metrics import DocumentFrequencies, consensus_cider_d, evaluate_captions

CORRECTIONS = [["a red car on grass"], ["a blue boat on a lake", "a boat"], ["a green tree on a hill"]]


def test_an_n_gram_counts_once_for_an_image_however_often_it_is_written() -> None:
    found = DocumentFrequencies.of([["a boat and a boat", "A boat."], ["a car"]])

    assert found.images == 2
    assert found.of_ngrams[("a",)] == 2
    assert found.of_ngrams[("a", "boat")] == 1
    assert ("boat", "car") not in found.of_ngrams


def test_consensus_is_cider_d_with_the_others_for_references() -> None:
    caption, others = "two vans on grass", ["two vans in snow", "some vans in snow"]
    # For the two imaginary images: the caption's own, no word of whose references is in a correction, and a blank one.
    published = evaluate_captions({"": others}, {"": caption}, corpus=[*CORRECTIONS, [""]])

    found = consensus_cider_d(caption, others, DocumentFrequencies.of(CORRECTIONS))

    assert found == pytest.approx(published.cider_d)
    assert 0 < found < 10


def test_agreement_in_words_that_everybody_writes_is_worth_little() -> None:
    frequencies = DocumentFrequencies.of(CORRECTIONS)

    common = consensus_cider_d("a red car", ["a blue boat"], frequencies)
    rare = consensus_cider_d("zebra red car", ["zebra blue boat"], frequencies)

    assert 0 < common < rare / 2


@pytest.mark.parametrize("corrections", [[], [["a red car on grass"]]], ids=["none", "one"])
def test_with_too_few_corrections_all_words_weigh_alike(corrections: list[list[str]]) -> None:
    frequencies = DocumentFrequencies.of(corrections)

    everywhere, nowhere = (
        consensus_cider_d(f"{word} red car", [f"{word} blue boat"], frequencies) for word in ("a", "zebra")
    )

    assert everywhere == pytest.approx(nowhere)
    assert everywhere == pytest.approx(10 * (1 / 3) / 4)  # one word of three, and no longer n-gram of the four lengths


def test_a_caption_without_a_word_agrees_with_nothing() -> None:
    assert consensus_cider_d("...", ["a red car", ""], DocumentFrequencies.of(CORRECTIONS)) == 0
