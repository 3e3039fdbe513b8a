"""What people write and no one expects, as training text, and taken away and brought back."""

import json
from pathlib import Path

import pytest
from PIL import Image
from tests.model.exchange.test_importing import Importer
from tests.support.bad_images import encoded
from tests.support.models import add_project
from tests.support.odd_captions import KEPT, NOT_A_LETTER_LEFT

from captionloop.home import Home
from captionloop.image_limits import ImageLimits
from captionloop.model.blip.checkpoint import load_checkpoint
from captionloop.model.captions.example import Example
from captionloop.model.database import CorrectionState, Database, utc_now
from captionloop.model.dataset import corrections
from captionloop.model.dataset.corrections import CorrectionRecord, Snapshot
from captionloop.model.exchange.export import FORMATS, Format, export
from captionloop.model.exchange.reading.caption_text import LONGEST_CAPTION
from captionloop.model.training.caption_targets import CaptionText, training_batch, usable_examples

CAPTIONS = list(KEPT.values())


@pytest.fixture
def snapshot(database: Database, home: Home) -> Snapshot:
    project = add_project(database, 2)  # that of the importer is 1
    for number, caption in enumerate(CAPTIONS):
        picture = encoded(Image.new("RGB", (8, 8), (number, 9 * number, 99)))
        stored = corrections.write_image(home, picture, limits=ImageLimits())
        with database.session() as session:
            corrections.register_image(session, stored)
            record = CorrectionRecord(
                annotation_id=number, task_id=number, state=CorrectionState.ACTIVE, captions=[caption],
                annotated_at=utc_now(), updated_at=utc_now(), image_sha256=stored.sha256,
            )  # fmt: skip
            corrections.upsert(session, project.id, record)
    with database.session() as session:
        return corrections.snapshot(session, project.id, home)


def test_a_caption_that_cannot_be_learnt_is_named_with_its_reason_and_the_rest_can() -> None:
    checkpoint = load_checkpoint("starter")
    examples = [Example(number, "", caption) for number, caption in enumerate(CAPTIONS)]

    usable, rejected = usable_examples(checkpoint, examples, prompt="")

    assert len(usable) + len(rejected) == len(CAPTIONS)
    assert [str(found.example) for found in rejected if "would be cut" in found.reason] == [
        f"correction {len(CAPTIONS) - 1}"
    ]
    assert any("vocabulary cannot write" in found.reason for found in rejected)
    for found in usable:  # the ids of special tokens come from nobody's hands
        ids = CaptionText.of(found.caption, checkpoint.tokenizer, prompt="").ids
        assert not set(ids[:-1]) & set(checkpoint.tokenizer.all_special_ids)
    batch = training_batch([found.caption for found in usable], checkpoint.tokenizer, start_id=1)
    assert batch.ids.shape[0] == len(usable)


@pytest.mark.parametrize("form", FORMATS)
def test_exported_captions_are_imported_to_the_letter_and_a_document_is_refused(
    snapshot: Snapshot, home: Home, tmp_path: Path, database: Database, form: Format
) -> None:
    export(snapshot, home, tmp_path / "out", form=form)
    importer = Importer(database, Home(tmp_path / "elsewhere"))

    importer(tmp_path / "out")

    assert sorted(importer.captions()[len(CAPTIONS) :]) == sorted(
        caption for caption in CAPTIONS if len(caption) <= LONGEST_CAPTION
    )
    (refused,) = importer.bad
    assert "characters; the limit is 10,000" in refused.reason


@pytest.mark.parametrize("form", ["jsonl", "csv", "tsv"])
def test_an_import_keeps_each_odd_caption_or_names_its_line(importer: Importer, tmp_path: Path, form: str) -> None:
    """Without what no file of the format can hold: half of a surrogate pair, and NUL where a table is read."""
    texts = [text for text in [*KEPT, *NOT_A_LETTER_LEFT] if not any("\ud800" <= sign <= "\udfff" for sign in text)]
    path = tmp_path / f"captions.{form}"
    (tmp_path / "a.png").write_bytes(encoded(Image.new("RGB", (8, 8), "red")))
    if form == "jsonl":
        path.write_text("".join(json.dumps({"image": "a.png", "text": text}) + "\n" for text in texts))
    else:
        texts = [text for text in texts if not set(text) & set("\0\r\n\x85\u2028\t")]
        separator = {"csv": ",", "tsv": "\t"}[form]
        lines = [f'a.png{separator}"{text.replace(chr(34), chr(34) * 2)}"\n' for text in texts]
        path.write_text("".join([f"image{separator}text\n", *lines]), encoding="utf-8")

    importer(path)

    assert len(importer.rows()) + len(importer.bad) == len(texts)
    assert all(row.reason.endswith(".") and row.place.line for row in importer.bad)
    assert set(importer.captions()) <= set(KEPT.values())


@pytest.fixture
def importer(database: Database, home: Home) -> Importer:
    return Importer(database, home)
