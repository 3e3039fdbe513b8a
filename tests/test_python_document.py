"""The lines of Python in docs/python.md do what the page says."""

import doctest
from pathlib import Path

import captionloop
from captionloop.model.starter.folder import draw_folder

_PAGE = Path(__file__).parent.parent / "docs" / "python.md"


def test_the_page_is_true() -> None:
    draw_folder(Path("photos"), 40)
    failed, tried = doctest.testfile(
        str(_PAGE), module_relative=False, optionflags=doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
    )
    assert tried > 15
    assert not failed


def test_the_page_names_every_function() -> None:
    text = _PAGE.read_text(encoding="utf-8")
    functions = [name for name in captionloop.__all__ if name.islower() and not name.startswith("_")]
    assert [name for name in functions if f"`{name}(" not in text] == []
