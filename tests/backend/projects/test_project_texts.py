"""The way from a Label Studio project to our pages, in its own texts."""

import pytest

from captionloop.backend.projects.project_texts import description_with_link, instructions_with_link

HERE, ELSEWHERE = "http://here/projects/1/", "http://elsewhere:1/projects/1/"


@pytest.mark.parametrize("own", ["", "Birds of the lake.\n\nNo people.", None])
def test_peoples_own_description_stays_and_ends_with_the_link(own: str | None) -> None:
    once = description_with_link(own, ELSEWHERE)
    again = description_with_link(once, HERE)

    assert again.startswith(own or "Captionloop")
    assert again.endswith(HERE)
    assert ELSEWHERE not in again
    assert description_with_link(again, HERE) == again


@pytest.mark.parametrize("own", ["", "<h1>Birds</h1><p>One sentence.</p>", None])
def test_peoples_own_instructions_stay_and_end_with_the_link(own: str | None) -> None:
    once = instructions_with_link(own, ELSEWHERE)
    again = instructions_with_link(once, f"{HERE}?a&b")

    assert again.startswith(own or "<p>Captionloop:")
    assert again.count("Shift") == 1
    assert f'<a href="{HERE}?a&amp;b"' in again
    assert ELSEWHERE not in again
    assert instructions_with_link(again, f"{HERE}?a&b") == again
