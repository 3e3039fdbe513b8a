"""What captions are worth: of one model, and of two on the same pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from captionloop.backend.python.comparing import ComparedModels, compared, comparison_page
from captionloop.backend.python.html import header, paragraph, table
from captionloop.backend.report_page.figures import figure_rows, figure_value_rows
from captionloop.backend.terminal.files import write_text_file
from captionloop.backend.terminal.table import table as text_table
from captionloop.model.evaluation.comparison_file import ComparedImage
from captionloop.model.metrics import Difference, evaluate_captions
from captionloop.model.metrics.differences import bootstrap_figures
from captionloop.model.metrics.estimate import Estimate
from captionloop.model.versions.comparisons import ordered

if TYPE_CHECKING:
    from captionloop.backend.python.datasets import Dataset
    from captionloop.backend.python.models import Model


class Evaluation(Mapping[str, float]):
    """The figures of a model's captions: `evaluation["cider_d"]`.

    Args:
        figures: name → value and 95 % interval of a bootstrap over the pictures.
        captions: the picture's hash → the caption.
        notes: caveats, as sentences.
    """

    def __init__(
        self, name: str, figures: Mapping[str, Estimate], captions: Mapping[str, str], notes: Sequence[str]
    ) -> None:
        self.name, self.intervals, self.captions, self.notes = name, figures, captions, tuple(notes)

    def __getitem__(self, name: str) -> float:
        return self.intervals[name].value

    def __iter__(self) -> Iterator[str]:
        return iter(self.intervals)

    def __len__(self) -> int:
        return len(self.intervals)

    def __repr__(self) -> str:
        shown = text_table(("", "value", "95 % interval", ""), [(*row, "") for row in self._rows()], figures=True)
        return "\n".join([self._title(), shown, *self.notes])

    def _repr_html_(self) -> str:
        rows = [list(map(escape, row)) for row in self._rows()]
        notes = "".join(map(paragraph, self.notes))
        return paragraph(self._title()) + table(header(("", "value", "95 % interval")), rows) + notes

    def _title(self) -> str:
        return f"{self.name} on {len(self.captions)} pictures"

    def _rows(self) -> list[tuple[str, str, str]]:
        return figure_value_rows(self.intervals)


class Comparison:
    """Two models on the same pictures; differences are second minus first.

    Args:
        found: both models' captions and figures.
        dataset: the pictures.
        notes: caveats, as sentences.
    """

    def __init__(self, found: ComparedModels, dataset: Dataset, notes: Sequence[str] = ()) -> None:
        self._found, self._dataset, self.notes = found, dataset, tuple(notes)

    @property
    def figures(self) -> Mapping[str, Difference]:
        """Name → both values, the difference, its 95 % interval and p-value."""
        return self._found.comparison.figures

    @property
    def images(self) -> Sequence[ComparedImage]:
        """Each picture with both captions, the second model's worst first."""
        return ordered(self._found.comparison.images, "worst")

    def save_html(self, path: str | Path) -> Path:
        """Write a page with the figures and the pictures, the second model's worst first.

        Raises:
            CaptionFileError: it cannot be written.
        """
        path = Path(path).expanduser()
        page = comparison_page(
            self._found, self._dataset.as_evaluation_set(), self._dataset.limits, dataset=self._dataset.name
        )
        write_text_file(path, page)
        return path

    def __repr__(self) -> str:
        return "\n".join([text_table(self._titles(), self._rows(), figures=True), self._based_on(), *self.notes])

    def _repr_html_(self) -> str:
        rows = [list(map(escape, row)) for row in self._rows()]
        return table(header(self._titles()), rows) + paragraph(self._based_on()) + "".join(map(paragraph, self.notes))

    def _titles(self) -> tuple[str, ...]:
        return ("", self._found.first, self._found.second, "difference", "95 % interval", "p", "")

    def _rows(self) -> list[tuple[str, ...]]:
        return [row.cells for row in figure_rows(self.figures)]

    def _based_on(self) -> str:
        return f"On {len(self._found.comparison.images)} pictures; 2,000 paired bootstrap resamples."


def evaluate(model: Model, dataset: Dataset) -> Evaluation:
    """Let a model caption pictures, and score that against what people wrote: BLEU, ROUGE-L, CIDEr-D and others.

    Document frequencies of CIDEr-D come from the whole dataset, also for a part of it. A note says how many of the
    pictures the model was trained on.

    Raises:
        ImageError: a picture is gone, or is another one now.
    """
    chosen = dataset.as_evaluation_set()
    captions = model.captions(chosen)
    found = evaluate_captions(chosen.references, captions, corpus=chosen.corpus)
    figures = bootstrap_figures(chosen.references, captions, found)
    return Evaluation(model.name, figures, captions, [*found.notes, *_seen((model,), dataset)])


def compare(first: Model, second: Model, dataset: Dataset) -> Comparison:
    """Let two models caption the same pictures, and compare both with what people wrote; otherwise as `evaluate`."""
    chosen = dataset.as_evaluation_set()
    found = compared((first.name, first.captions(chosen)), (second.name, second.captions(chosen)), chosen)
    return Comparison(found, dataset, _seen((first, second), dataset))


def _seen(models: Sequence[Model], dataset: Dataset) -> list[str]:
    counts = [(model.name, len(model.trained_on & set(dataset.hashes))) for model in models]
    return [
        f"{name} was trained on {count} of these {len(dataset)} pictures, so its figures say little about new ones."
        for name, count in counts
        if count
    ]
