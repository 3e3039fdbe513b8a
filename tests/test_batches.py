from captionloop.batches import batches


def test_all_items_come_in_order_and_the_last_batch_may_be_smaller() -> None:
    assert list(batches("abcde", 2)) == [["a", "b"], ["c", "d"], ["e"]]


def test_an_iterator_is_read_no_further_than_the_batch() -> None:
    rest = iter(range(5))

    assert next(batches(rest, 2)) == [0, 1]
    assert next(rest) == 2
