"""Which script a caption is in."""

import pytest

from captionloop.model.captions.scripts import main_script


@pytest.mark.parametrize(
    ("caption", "script"),
    [
        ("Ein rotes Auto", "Latin"),
        ("красная машина BMW", "Cyrillic"),
        ("سيارة حمراء", "Arabic"),
        ("बड़ा पेड़", "Devanagari"),
        ("빨간 차", "Hangul"),
        ("一辆红色的小汽车。", "Chinese"),
        ("大きな木", "Japanese"),
        ("交通標識の前", "Japanese"),  # one kana, five ideographs
        ("々", "Chinese"),
        ("🚗 42", None),
        ("", None),
    ],
)
def test_a_caption_is_in_the_script_of_most_of_its_letters(caption: str, script: str | None) -> None:
    assert main_script(caption) == script
