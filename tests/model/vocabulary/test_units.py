"""Text without spaces falls into units of which one part is hardly ever without the other."""

from captionloop.model.vocabulary.units import units

CHINESE = {f"{colour}色的{size}{kind}": 1 for colour in "红白蓝" for size in "小大高" for kind in ("汽车", "猫", "鱼")}


def test_what_is_always_together_is_a_unit_and_what_changes_partners_is_none() -> None:
    cut = units(CHINESE)
    assert cut["红色的小汽车"] == ["红色的", "小", "汽车"]
    assert cut["蓝色的大猫"] == ["蓝色的", "大", "猫"]


def test_all_characters_are_kept_in_their_order() -> None:
    assert all("".join(parts) == run for run, parts in units(CHINESE).items())


def test_what_comes_once_is_single_characters() -> None:
    assert units({"山水": 1}) == {"山水": ["山", "水"]}


def test_a_unit_has_an_end_however_fixed_a_phrase_is() -> None:
    assert max(map(len, units({"一二三四五六七八九十": 50})["一二三四五六七八九十"])) <= 6


def test_no_runs_have_no_units() -> None:
    assert units({}) == {}
