"""The metrics of a comparison for people: names, formats, and the meaning of a difference."""

from collections.abc import Mapping
from dataclasses import dataclass

from captionloop.model.evaluation import certainty
from captionloop.model.metrics import Difference
from captionloop.model.metrics.estimate import Estimate


@dataclass(frozen=True)
class _Style:
    title: str
    how: str  # it is computed
    share: bool = False  # 0 to 1, written in per cent
    less_is_better: bool = False


# In the order in which they are shown; the others are in comparison.json.
_STYLES: Mapping[str, _Style] = {
    "score": _Style("CIDEr-D + BLEU-4", "the sum of the two below, by which the gate judges; 0 to 11, more is better"),
    "cider_d": _Style(
        "CIDEr-D",
        "likeness to human captions in runs of one to four words, rare ones weighing more; 0 to 10, mean of the images",
    ),
    "bleu_4": _Style(
        "BLEU-4", "share of runs of one to four words that human captions have, too; 0 to 1, over all images"
    ),
    "rouge_l": _Style("ROUGE-L", "longest common sequence of words with a human caption; 0 to 1, mean of the images"),
    "exact_match": _Style(
        "Exactly right", "share of the images whose caption is word for word a human one", share=True
    ),
    "word_edit_rate": _Style(
        "Words to change",
        "words to replace, take out or put in for the nearest human caption, per word of it; over all images",
        share=True,
        less_is_better=True,
    ),
}


@dataclass(frozen=True)
class FigureRow:
    """A metric of both versions as texts.

    `low`, `middle` and `high` are the interval's ends and the difference on a scale from -1 (worse) to 1 (better).
    """

    title: str
    how: str
    first: str
    second: str
    difference: str
    interval: str
    p_value: str
    verdict: str
    low: float
    middle: float
    high: float

    @property
    def cells(self) -> tuple[str, ...]:
        """The row of a table: title, both values, difference, interval, p-value, verdict."""
        return self.title, self.first, self.second, self.difference, self.interval, self.p_value, self.verdict


def figure_rows(figures: Mapping[str, Difference]) -> list[FigureRow]:
    return [_row(style, figures[name]) for name, style in _STYLES.items() if name in figures]


def figure_value_rows(figures: Mapping[str, Estimate]) -> list[tuple[str, str, str]]:
    """Title, value and interval of each metric of one set of captions, as texts."""
    return [
        (
            style.title,
            _number(figures[name].value, style),
            f"{_number(figures[name].low, style)} to {_number(figures[name].high, style)}",
        )
        for name, style in _STYLES.items()
        if name in figures
    ]


def figure_title(name: str) -> str:
    return _STYLES[name].title if name in _STYLES else name


def _row(style: _Style, figure: Difference) -> FigureRow:
    low, high = figure.interval
    sign = -1 if style.less_is_better else 1
    # A little room at both ends; where all is 0, so is the scale.
    scale = sign / (1.1 * max(abs(low), abs(high), abs(figure.difference), 1e-12))
    ends = sorted((low * scale, high * scale))
    return FigureRow(
        title=style.title,
        how=style.how,
        first=_number(figure.first, style),
        second=_number(figure.second, style),
        difference=_number(figure.difference, style, signed=True),
        interval=f"{_number(low, style, signed=True)} to {_number(high, style, signed=True)}",
        p_value="< 0.001" if figure.p_value < 0.001 else f"{figure.p_value:.3f}",
        verdict=_verdict(figure, sign),
        low=ends[0],
        middle=figure.difference * scale,
        high=ends[1],
    )


def _verdict(figure: Difference, sign: int) -> str:
    if figure.difference == 0 and not any(figure.interval):
        return "the same"
    # The p-value is two-sided: half of it is the chance that the other one is better.
    chance = 1 - figure.p_value / 2
    return certainty.verdict(chance if figure.difference * sign > 0 else 1 - chance)


def _number(value: float, style: _Style, *, signed: bool = False) -> str:
    # U+2212, as wide as a plus sign, so that columns line up.
    text = f"{value:{'+' if signed else ''}.{1 if style.share else 2}{'%' if style.share else 'f'}}"
    return text.replace("%", "\u00a0%").replace("-", "−")
