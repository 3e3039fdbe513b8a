"""What a model learnt in many scripts is what `/predict` answers, letter by letter."""

from pathlib import Path

import pytest
from PIL import Image
from tests.model.captioning.published_layout import write_base
from tests.model.training.test_loop import UNREGULARISED
from tests.support.languages import BY_SCRIPT, captions
from tests.support.pictures import picture
from tests.support.service import caption_service, client_of, predict

from captionloop.home import Home
from captionloop.model.blip.checkpoint import load_checkpoint, save_checkpoint
from captionloop.model.blip.generation_settings import GenerationSettings, generation_for
from captionloop.model.captioning.captioner import Captioner
from captionloop.model.captions.example import Example
from captionloop.model.database import Database
from captionloop.model.training.loop import finetune
from captionloop.model.training.settings import FinetuneSettings
from captionloop.model.versions.base import Base

TEXTS = [captions(language)[0] for language in BY_SCRIPT.values()]
COLOURS = [
    "black", "white", "red", "lime", "blue", "yellow", "cyan", "magenta", "gray", "maroon", "olive", "green", "purple",
    "teal", "navy", "orange", "pink",
]  # fmt: skip


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of the published layout after a run on a caption in each script, saved."""
    start, directory = (tmp_path_factory.mktemp(name) for name in ("published", "learnt"))
    base = Captioner.load(write_base(start), version="base", generation=GenerationSettings(), precision="fp32")
    seen = base.encode([Image.new("RGB", (40, 30), colour) for colour in COLOURS])
    result = finetune(
        load_checkpoint(start),
        [Example(number, str(number), text) for number, text in enumerate(TEXTS)],
        settings=FinetuneSettings(steps=400, batch_size=17, learning_rate=1e-2, **UNREGULARISED),
        features={str(number): features for number, features in enumerate(seen)},
    )
    assert result.rejected == ()
    save_checkpoint(result.checkpoint, directory)
    return directory


@pytest.mark.parametrize("beams", [1, 3])
def test_each_caption_is_served_as_it_was_written(
    learnt: Path, beams: int, database: Database, redis_url: str, tmp_path: Path, home: Home
) -> None:
    generation = generation_for(GenerationSettings(num_beams=beams, min_length=3), load_checkpoint(learnt), TEXTS)
    with caption_service(database, redis_url, tmp_path, Base(str(learnt), generation)) as service:
        results = predict(client_of(service, home), *map(picture, COLOURS))
    assert [result["result"][0]["value"]["text"] for result in results] == [[text] for text in TEXTS]
