"""`comparison.json` in a version's directory: what the champion and the new version wrote for each held-out image.

    {"champion": NAME, "snapshot": HASH,                            without "snapshot": that of the version
     "style": NAME,                        "" is the one without a name; left out where there is only that one
     "figures": {FIGURE: {"first", "second", "difference", "interval", "p_value"}},        first is the champion
     "images": [{"image": HASH, "references": [CAPTION],
                 "champion": {"caption": CAPTION, FIGURE: NUMBER}, "candidate": the same}]}

The run writes it once, so that a report can be made again at any time. A later comparison of any two versions
(`jobs.learning.compare_run`) has the same format, with the first of them as "champion".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from captionloop.errors import CheckpointError
from captionloop.home import write_atomically
from captionloop.json_files import load_json
from captionloop.model.metrics import Difference, Evaluation, compare_figures

COMPARISON = "comparison.json"


@dataclass(frozen=True)
class EvaluatedCaption:
    """One version's caption of an image, with its metrics."""

    caption: str
    cider_d: float
    word_edits: int
    word_edit_rate: float
    exact_match: bool


@dataclass(frozen=True)
class ComparedImage:
    """A held-out image with its human captions and both versions' captions."""

    image: str  # SHA-256 of its bytes
    references: tuple[str, ...]
    champion: EvaluatedCaption
    candidate: EvaluatedCaption


@dataclass(frozen=True)
class StoredComparison:
    """The champion's name, the difference in each metric, the images, and the snapshot if the file names one.

    Args:
        style: that both wrote in and were judged in; "" is the one without a name, None where there is only that one.
    """

    champion: str
    figures: Mapping[str, Difference]
    images: tuple[ComparedImage, ...]
    snapshot: str | None
    style: str | None = None

    @property
    def in_style(self) -> str:
        """The style in words; empty where there is only one."""
        return in_style(self.style)


def in_style(style: str | None) -> str:
    """A style in words, as "in the style 'British'"; "" is the one without a name. Empty for None."""
    return "" if style is None else f"in the style {style!r}" if style else "in the style without a name"


def write_comparison(
    path: Path,
    *,
    champion: str,
    references: Mapping[str, Sequence[str]],
    champion_captions: Mapping[str, str],
    candidate_captions: Mapping[str, str],
    corpus: Iterable[Sequence[str]],
    snapshot: str | None = None,
    style: str | None = None,
) -> None:
    """Write a comparison.

    Args:
        path: of the file; a run's is `COMPARISON` in the directory of the unfinished version.
        champion: the name of the version that the candidate was compared with.
        references: held-out image hash → human captions.
        champion_captions, candidate_captions: the same images → generated caption.
        corpus: captions of further images, the same as for the gate.
        snapshot: hash of the dataset of images and corpus, if no manifest beside the file has it.
        style: as in `StoredComparison`.
    """
    found = compare_figures(references, champion_captions, candidate_captions, corpus=corpus)
    content = {
        "champion": champion,
        **({"snapshot": snapshot} if snapshot else {}),
        **({"style": style} if style is not None else {}),
        "figures": {name: figure.to_dict() for name, figure in found.figures.items()},
        "images": [
            {
                "image": image,
                "references": list(references[image]),
                "champion": _written(found.first, image, champion_captions),
                "candidate": _written(found.second, image, candidate_captions),
            }
            for image in references
        ],
    }
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_atomically(path, text.encode())


def read_comparison(path: Path) -> StoredComparison | None:
    """A comparison from its file; None when there is none.

    Raises:
        CheckpointError: the file is damaged.
    """
    try:
        content = load_json(path)
        return StoredComparison(
            champion=str(content["champion"]),
            figures={name: Difference.from_dict(values) for name, values in content["figures"].items()},
            images=tuple(
                ComparedImage(
                    image=entry["image"],
                    references=tuple(entry["references"]),
                    champion=_read_written(entry["champion"]),
                    candidate=_read_written(entry["candidate"]),
                )
                for entry in content["images"]
            ),
            snapshot=content.get("snapshot"),
            style=content.get("style"),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path} is damaged ({error!r}); a page that shows it needs it as it was written."
        ) from error


def _written(evaluation: Evaluation, image: str, captions: Mapping[str, str]) -> dict[str, Any]:
    scores = evaluation.per_image[image]
    figures = {name: value for name, value in asdict(scores).items() if value is not None}
    return {"caption": captions[image], **figures, "word_edit_rate": scores.word_edit_rate}


def _read_written(values: Mapping[str, Any]) -> EvaluatedCaption:
    return EvaluatedCaption(
        caption=str(values["caption"]),
        cider_d=float(values["cider_d"]),
        word_edits=int(values["word_edits"]),
        word_edit_rate=float(values["word_edit_rate"]),
        exact_match=bool(values["exact_match"]),
    )
