"""A BLIP that captions pictures."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, overload

from PIL import Image

from captionloop.backend.python.captions import Caption, Word, open_picture
from captionloop.backend.python.html import Card, curve, gallery, paragraph
from captionloop.backend.python.loading import load_captioner, named
from captionloop.backend.python.progress import bar
from captionloop.backend.python.training import TrainedModel, is_trained, read_trained
from captionloop.errors import CaptionloopError
from captionloop.home import storing
from captionloop.model.blip.model_source import local_directory
from captionloop.model.dataset.images import open_image
from captionloop.model.finetuning.folder_training import trained_on
from captionloop.model.training.log import read_steps
from captionloop.model.versions.manifest import MANIFEST
from captionloop.settings import Settings

if TYPE_CHECKING:
    from captionloop.backend.python.datasets import Dataset
    from captionloop.model.captioning.captioner import Captioner
    from captionloop.model.exchange.evaluation_set import EvaluationSet


@dataclass(frozen=True)
class Sample:
    """A picture of a dataset, what the model wrote, and what people did."""

    path: str
    caption: str
    references: tuple[str, ...]
    image: Image.Image


class Samples(Sequence[Sample]):
    """Some pictures with caption and references, shown as a gallery in a notebook."""

    def __init__(self, model: str, samples: Sequence[Sample]) -> None:
        self._model, self._samples = model, tuple(samples)

    def __len__(self) -> int:
        return len(self._samples)

    @overload
    def __getitem__(self, place: int) -> Sample: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Sample]: ...
    def __getitem__(self, place: int | slice) -> Sample | Sequence[Sample]:
        return self._samples[place]

    def __repr__(self) -> str:
        return "\n".join(
            f"{Path(sample.path).name}: {sample.caption}  (people: {' / '.join(sample.references)})" for sample in self
        )

    def _repr_html_(self) -> str:
        cards = [
            Card(sample.image, [("model", sample.caption), *(("person", text) for text in sample.references)])
            for sample in self
        ]
        return gallery(f"{len(self)} pictures, captioned by {self._model}", cards)


class Model:
    """A BLIP, loaded when it captions for the first time. `load_model` and `finetune` make it.

    Args:
        source: a directory, a hub id, or "starter".
        settings: device, precision, beams and others, from the environment.
        prompt: what captions begin with; None: as its directory says.
        temporary: whether the directory that `source` lies in goes with the model.
    """

    def __init__(
        self,
        source: str,
        settings: Settings,
        *,
        prompt: str | None = None,
        temporary: bool = False,
    ) -> None:
        self.source, self.settings, self.prompt = source, settings, prompt
        if temporary:
            weakref.finalize(self, shutil.rmtree, Path(source).parent, ignore_errors=True)
        self.name, self.generation = named(source, settings, prompt=prompt)

    def caption(self, picture: str | Path | Image.Image) -> Caption:
        """Caption a picture: a file, or one of Pillow's.

        Raises:
            ImageError: it cannot be read, decoded, or is too large.
            CheckpointError: the model cannot be loaded.
        """
        from captionloop.model.captioning.word_regions import word_regions

        image = open_picture(picture, self.settings.image_limits)
        found = word_regions(self.captioner, image)
        words = tuple(Word(word.text, word.probability) for word in found.words)
        return Caption(found.beams[0].caption, found.beams[0].score, words, image)

    def captions(self, pictures: EvaluationSet) -> dict[str, str]:
        """Image id → its caption, with progress."""
        with bar(f"Captioning with {self.name}", total=len(pictures.pictures)) as moving:
            return pictures.caption(self.captioner, limits=self.settings.image_limits, on_progress=moving.to)

    def samples(self, dataset: Dataset, count: int = 8) -> Samples:
        """The first pictures of a dataset, with this model's caption beside the references."""
        limits, some = self.settings.image_limits, dataset[:count]
        pictures = some.as_evaluation_set()
        return Samples(
            self.name,
            [
                Sample(
                    some.path(image),
                    caption,
                    tuple(pictures.references[image]),
                    open_image(some.data.read(image, limits=limits), limits=limits),
                )
                for image, caption in self.captions(pictures).items()
            ],
        )

    def save(self, directory: str | Path) -> Path:
        """Write it as an ordinary `transformers` directory; one from `finetune` has its report, log and model card too.

        Raises:
            CaptionloopError: something is there already.
            StorageError: it cannot be written.
        """
        path = Path(directory).expanduser()
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise CaptionloopError(f"{path} is there already and not empty; name another directory.")
        unfinished = path.absolute().with_name(f".{path.name}.part")
        with storing(path):
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.parent.mkdir(parents=True, exist_ok=True)
            self._write(unfinished)
            unfinished.replace(path.absolute())
        return path

    @cached_property
    def captioner(self) -> Captioner:
        """The loaded network."""
        return load_captioner(self.source, self.settings, prompt=self.prompt)

    @property
    def log(self) -> Mapping[str, Sequence[float]]:
        """Of the training that made it: column → its value at each step ("step", "loss", "learning_rate", …).

        Empty for a model that was not made here; `pandas.DataFrame(model.log)` is a table of it.
        """
        directory = local_directory(self.source)
        return read_steps(directory) if directory else {}

    @property
    def trained(self) -> TrainedModel | None:
        """How the training that made it ended: what it was made from, and both models on the held-out pictures."""
        directory = local_directory(self.source)
        return read_trained(directory) if directory and is_trained(directory) else None

    @property
    def trained_on(self) -> frozenset[str]:
        """The hashes of the pictures that it is known to be trained on."""
        return trained_on(self.source)

    def __repr__(self) -> str:
        made = self.trained
        return f"Model({self.name!r}{f', made from {made.base!r}' if made else ''})"

    def _repr_html_(self) -> str:
        made, log = self.trained, self.log
        said = paragraph(repr(self)) + (f"<p>{escape(made.finding)}</p>" if made else "")
        return said + (curve(log) if log else "")

    def _write(self, directory: Path) -> None:
        source = local_directory(self.source)
        if source is not None and (source / MANIFEST).is_file():
            shutil.copytree(source, directory)
            return
        from captionloop.model.blip.checkpoint import load_checkpoint, save_checkpoint

        save_checkpoint(load_checkpoint(self.source), directory, generation=self.generation)


def load_model(name: str | Path, *, prompt: str | None = None, device: str | None = None) -> Model:
    """A BLIP by its directory or its name on the Hugging Face hub; "starter" is the small one that ships with us.

    Args:
        prompt: what captions begin with, such as "a photo of"; None: as the model's directory says.
        device: "cuda", "mps", "xpu" or "cpu"; None: CAPTIONLOOP_DEVICE, else the first that is there.

    Raises:
        CheckpointError: there is no such model, or it does not load.
        SettingsError: the device is not there.
    """
    model = Model(str(name), Settings.read(device=device), prompt=prompt)
    model.captioner  # noqa: B018 (what is wrong with it is said here, and not in a later cell)
    return model
