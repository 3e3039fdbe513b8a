"""What the nouns look like in a notebook: plain tables, since some hosts of notebooks take styles and scripts away."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from captionloop.backend.report_page.thumbnail import thumbnail_url

if TYPE_CHECKING:
    from PIL import Image

_COLUMNS = 4
_SHOWN_PIXELS = 128
_LEFT = "text-align:left;vertical-align:top;max-width:200px"


@dataclass(frozen=True)
class Card:
    """A picture with what is written about it.

    Args:
        lines: (whose words, or None for a person's; the words).
    """

    picture: Image.Image
    lines: Sequence[tuple[str | None, str]]


def gallery(title: str, cards: Sequence[Card]) -> str:
    """Pictures in rows, each over its captions."""
    rows = [cards[start : start + _COLUMNS] for start in range(0, len(cards), _COLUMNS)]
    return paragraph(title) + table("", [[_card(card) for card in row] for row in rows])


def table(head: str, rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already.

    Args:
        head: of `header`, or nothing.
    """
    body = "".join("<tr>" + "".join(f'<td style="{_LEFT}">{cell}</td>' for cell in row) + "</tr>" for row in rows)
    return f"<table>{head}<tbody>{body}</tbody></table>"


def header(titles: Sequence[str]) -> str:
    """The head of a table."""
    cells = "".join(f'<th style="{_LEFT}">{escape(title)}</th>' for title in titles)
    return f"<thead><tr>{cells}</tr></thead>"


def paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def confident_words(words: Iterable[tuple[str, float]]) -> str:
    """Words on a ground that is the fainter, the surer the model is of them; the number is in their title."""
    return " ".join(
        f'<span title="{confidence:.2f}" style="background:rgba(230,140,0,{min(0.8, 1 - confidence):.2f});'
        f'border-radius:3px;padding:0 2px">{escape(text)}</span>'
        for text, confidence in words
    )


def picture_tag(image: Image.Image) -> str:
    """A small copy of a picture."""
    return f'<img src="{thumbnail_url(image)}" width="{_width(image)}" alt="">'


def curve(log: Mapping[str, Sequence[float]]) -> str:
    """The loss of a training over its steps, as a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2, 2.0), layout="constrained", dpi=110)
    axes = figure.add_subplot(xlabel="step", ylabel="loss")
    axes.plot(log["step"], log["loss"], color="#2b57c4", linewidth=1.4)
    axes.spines[["top", "right"]].set_visible(False)
    data = io.BytesIO()
    figure.savefig(data, format="png")
    return f'<img src="data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}" alt="Loss over the steps">'


def _card(card: Card) -> str:
    lines = "".join(
        f"<div>{escape(text)}</div>" if who is None else f"<div><b>{escape(who)}</b> {escape(text)}</div>"
        for who, text in card.lines
    )
    return f"{picture_tag(card.picture)}{lines}"


def _width(image: Image.Image) -> int:
    return round(_SHOWN_PIXELS * image.width / max(image.size))
