import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from huggingface_hub import ModelCard, ModelCardData
from tests.support.models import add_project
from tests.support.versions import FinishedRun
from transformers import AutoTokenizer, BlipForConditionalGeneration, BlipImageProcessorPil, BlipProcessor

from captionloop.home import Home
from captionloop.model.blip.checkpoint import load_checkpoint, save_checkpoint
from captionloop.model.blip.generation_settings import GenerationSettings, TaughtStyle
from captionloop.model.captioning.captioner import Captioner
from captionloop.model.database import Database, VersionState
from captionloop.model.starter.pool import example
from captionloop.model.starter.scenes import draw
from captionloop.model.versions.base import Base
from captionloop.model.versions.manifest import Lineage, read_manifest
from captionloop.model.versions.model_card import MODEL_CARD, write_model_card
from captionloop.model.versions.store import VersionInfo, VersionStore

LINEAGE = Lineage(
    parent="v1-aaaaaa", snapshot="ab" * 32, corrections=60, settings={"steps": 300}, reason="Promoted: it is better.",
    metrics={"cider_d": 7.25, "bleu_4": 0.5, "word_edit_rate": 0.1, "images": 12, "gate": {"promote": True}},
    state=VersionState.CANDIDATE,
)  # fmt: skip


def card(directory: Path, *, base: str = "starter", lineage: Lineage = LINEAGE, prompt: str = "") -> ModelCard:
    write_model_card(
        directory, name="v2-bbbbbb", lineage=lineage, generation=GenerationSettings(prompt=prompt), base=base
    )
    return cast(ModelCard, ModelCard.load(directory / MODEL_CARD))


def front_matter(found: ModelCard) -> ModelCardData:
    return cast(ModelCardData, found.data)


def test_the_front_matter_is_what_the_hub_reads(tmp_path: Path) -> None:
    data = front_matter(card(tmp_path))
    assert (data.library_name, data.pipeline_tag, data.license) == ("transformers", "image-to-text", None)


def test_the_figures_are_in_the_model_index(tmp_path: Path) -> None:
    found = front_matter(card(tmp_path))
    assert found.model_name == "v2-bbbbbb"
    assert {result.metric_name: result.metric_value for result in found.eval_results or []} == {
        "BLEU-4": 0.5, "CIDEr-D": 7.25, "Words to change, per reference word": 0.1,
    }  # fmt: skip


def test_a_base_on_the_hub_is_named(tmp_path: Path) -> None:
    assert front_matter(card(tmp_path, base="Salesforce/blip-image-captioning-base")).base_model == (
        "Salesforce/blip-image-captioning-base"
    )


@pytest.mark.parametrize("base", ["starter", "/somewhere/private/blip", "models/blip"])
def test_a_base_that_is_not_on_the_hub_is_no_base_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "blip").mkdir(parents=True)
    found = card(tmp_path, base=base)
    assert front_matter(found).base_model is None
    assert "private" not in found.content


def test_a_version_without_figures_has_a_card_without_model_index(tmp_path: Path) -> None:
    found = card(tmp_path, lineage=replace(LINEAGE, metrics={}))
    assert front_matter(found).eval_results is None
    assert "None were kept." in found.text


def test_the_example_gives_the_prompt(tmp_path: Path) -> None:
    assert ', text="a picture of "' in card(tmp_path, prompt="a picture of ").text


def test_the_example_gives_the_style_and_a_table_gives_all_of_them(tmp_path: Path) -> None:
    styles = {"British": TaughtStyle("[style1]"), "a|b": TaughtStyle("[style2]")}
    generation = GenerationSettings(prompt="a picture of", styles=styles, style="British")
    write_model_card(tmp_path, name="v2-bbbbbb", lineage=LINEAGE, generation=generation, base="starter")
    text = (tmp_path / MODEL_CARD).read_text()
    assert ', text="[style1] a picture of"' in text
    assert '| the first, which has no name | `"a picture of"` |' in text
    assert '| British | `"[style1] a picture of"` |' in text
    assert '| a\\|b | `"[style2] a picture of"` |' in text


def test_a_version_without_styles_has_a_card_without_them(tmp_path: Path) -> None:
    assert "style" not in card(tmp_path).text.lower()


def test_every_fine_tuned_version_has_a_card_with_a_checksum(finished: FinishedRun) -> None:
    version = finished.version
    assert version.version in (version.path / MODEL_CARD).read_text()
    assert MODEL_CARD in read_manifest(version.path)["files"]


def test_the_card_names_the_base_of_the_whole_line(finished: FinishedRun) -> None:
    lineage, project = replace(LINEAGE, parent=finished.version.version), finished.project.id

    name = finished.store.create(project, lambda path: None, lineage=lineage, generation=GenerationSettings())

    assert "The first of its line: `base`" in (finished.store.get(project, name).path / MODEL_CARD).read_text()


@pytest.fixture
def version(database: Database, home: Home) -> VersionInfo:
    """A version of the starter model, whose beam search and lengths are not those that `transformers` defaults to."""
    project = add_project(database)
    base = Base("starter", GenerationSettings(num_beams=2, min_length=12, max_length=24))
    store = VersionStore(database, home.versions)
    parent = store.ensure_champion(project.id, base)
    name = store.create(
        project.id,
        lambda path: save_checkpoint(load_checkpoint("starter"), path, generation=base.generation),
        lineage=replace(LINEAGE, parent=parent),
        generation=base.generation,
    )
    return store.get(project.id, name)


@pytest.mark.slow
def test_plain_transformers_captions_as_our_captioner_does(version: VersionInfo) -> None:
    pictures = [draw(scene, seed=seed) for scene, seed in (example("unseen", index) for index in range(6))]
    captioner = Captioner.load(version.path, version="v", generation=version.generation, precision="fp32")

    model = BlipForConditionalGeneration.from_pretrained(version.path)
    # BlipProcessor takes torchvision's image processor where that is installed, which resizes differently.
    processor = BlipProcessor(
        image_processor=BlipImageProcessorPil.from_pretrained(version.path),
        tokenizer=AutoTokenizer.from_pretrained(version.path),
    )
    inputs = processor(images=pictures, return_tensors="pt")
    ids = model.generate(**inputs, generation_config=model.generation_config)

    written = processor.batch_decode(ids, skip_special_tokens=True)
    assert written == [suggestion.caption for suggestion in captioner.caption(pictures)]
    with pytest.warns(UserWarning, match="max_length"):
        assert written != processor.batch_decode(model.generate(**inputs), skip_special_tokens=True)  # its defaults


def test_the_processor_of_a_version_loads_without_our_code(version: VersionInfo) -> None:
    assert type(BlipProcessor.from_pretrained(version.path).tokenizer) is type(load_checkpoint(version.path).tokenizer)


def test_the_adapter_free_directory_needs_nothing_but_its_files(version: VersionInfo, tmp_path: Path) -> None:
    """A hub upload is a copy of the directory: it says all there is to say about generation itself."""
    copy = shutil.copytree(version.path, tmp_path / "copy")
    settings = json.loads((copy / "generation_config.json").read_text())
    assert (settings["num_beams"], settings["min_length"], settings["max_length"]) == (2, 12, 24)
    BlipForConditionalGeneration.from_pretrained(copy)
