"""A model in Python: fine-tuned by the code of `captionloop train`, captioning, compared, saved."""

import os
import signal
import threading
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file
from tests.backend.python.conftest import SETTINGS, STEPS

import captionloop as cl
from captionloop.backend.cli import cli
from captionloop.errors import CaptionloopError, CheckpointError, ImageError, SettingsError
from captionloop.model.starter import STARTER_DIR


def are_equal(one: Path, other: Path) -> bool:
    first, second = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


class TestFinetune:
    def test_the_weights_are_those_of_the_command(self, better: cl.Model, photos: Path, tmp_path: Path) -> None:
        pairs = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]
        done = CliRunner().invoke(cli, ["train", str(photos), "--out", str(tmp_path / "blip"), *pairs])
        assert done.exit_code == 0, done.output
        assert are_equal(Path(better.source), tmp_path / "blip")
        by_command = cl.load_model(tmp_path / "blip")
        assert by_command.trained is not None
        assert better.trained is not None
        assert by_command.trained.comparison.figures == better.trained.comparison.figures

    def test_it_tells_how_it_was_made(self, better: cl.Model) -> None:
        assert list(better.log["step"]) == list(range(1, STEPS + 1))
        assert better.log["loss"][-1] > 0
        assert better.trained is not None
        assert better.trained.base == cl.load_model("starter").name
        html = better._repr_html_()
        assert "data:image/png" in html
        assert better.name in html

    def test_a_prompt_is_trained_with_and_captioned_from(self, data: cl.Dataset) -> None:
        by_setting = cl.finetune(cl.load_model("starter"), data, steps=1, prompt="one")
        by_model = cl.finetune(cl.load_model("starter", prompt="one"), data, steps=1)
        assert by_setting.generation.prompt == by_model.generation.prompt == "one"
        assert are_equal(Path(by_setting.source), Path(by_model.source))

    @pytest.mark.slow
    @pytest.mark.parametrize("way", ["lora", "full"])
    def test_each_way_is_a_keyword(self, data: cl.Dataset, way) -> None:  # type: ignore[no-untyped-def]
        made = cl.finetune(cl.load_model("starter"), data, way=way, steps=2, batch_size=4)
        assert len(made.log["loss"]) == 2
        assert (Path(made.source) / "adapter").is_dir() == (way == "lora")

    def test_what_is_no_setting_is_refused_before_anything_is_done(self, data: cl.Dataset) -> None:
        starter = cl.load_model("starter")
        with pytest.raises(SettingsError, match="no_such"):
            cl.finetune(starter, data, no_such=1)  # type: ignore[call-arg]
        with pytest.raises(SettingsError, match="way is 'adapter'; expected one of decoder, lora, full"):
            cl.finetune(starter, data, way="adapter")  # type: ignore[arg-type]

    def test_a_directory_with_something_in_it_is_refused(self, data: cl.Dataset, tmp_path: Path) -> None:
        (tmp_path / "thesis.tex").touch()
        with pytest.raises(CaptionloopError, match="not empty"):
            cl.finetune(cl.load_model("starter"), data, out=tmp_path, steps=1)

    def test_what_was_stopped_goes_on_to_the_same_weights(
        self, data: cl.Dataset, better: cl.Model, tmp_path: Path
    ) -> None:
        out = tmp_path / "blip"
        log = out / ".training" / "model" / "training_log.csv"

        def press_ctrl_c() -> None:
            while not log.exists() or len(log.read_text().splitlines()) < 4:
                time.sleep(0.005)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=press_ctrl_c, daemon=True).start()
        before = signal.getsignal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            cl.finetune(cl.load_model("starter"), data, out=out, **SETTINGS)
        assert signal.getsignal(signal.SIGINT) is before
        assert not (out / "config.json").exists()

        cl.finetune(cl.load_model("starter"), data, out=out, resume=True, **SETTINGS)

        assert are_equal(Path(better.source), out)


class TestCaption:
    def test_of_a_file_and_of_a_picture_it_is_the_same(self, photos: Path) -> None:
        starter = cl.load_model("starter")
        of_file, of_picture = starter.caption(photos / "00.png"), starter.caption(Image.open(photos / "00.png"))
        assert str(of_file) == of_file.caption == of_picture.caption
        assert 0 < of_file.score <= 1
        assert of_file.score == of_picture.score

    def test_it_has_the_confidence_of_each_word(self, photos: Path) -> None:
        found = cl.load_model("starter").caption(str(photos / "00.png"))
        assert " ".join(word.text for word in found.words) == found.caption
        assert all(0 < word.confidence <= 1 for word in found.words)
        assert f'title="{found.words[0].confidence:.2f}"' in found._repr_html_()

    @pytest.mark.parametrize("mode", ["RGBA", "P", "L", "LA", "1", "CMYK", "I", "I;16", "F", "HSV", "YCbCr"])
    def test_a_picture_may_be_of_any_mode(self, photos: Path, mode: str) -> None:
        drawn = Image.open(photos / "00.png")
        deep = Image.fromarray(np.asarray(drawn.convert("L")).astype("uint16") * 257)
        picture = deep if mode == "I;16" else drawn.convert(mode)
        assert cl.load_model("starter").caption(picture).caption

    def test_a_picture_that_cannot_be_read_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").write_bytes(b"no picture")
        starter = cl.load_model("starter")
        with pytest.raises(ImageError, match=r"a\.jpg: The file is not an image"):
            starter.caption(tmp_path / "a.jpg")
        with pytest.raises(ImageError, match=r"b\.jpg cannot be read: No such file"):
            starter.caption(tmp_path / "b.jpg")

    def test_a_model_that_is_not_there_is_named_at_once(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match="nowhere"):
            cl.load_model(tmp_path / "nowhere")

    def test_captions_go_on_from_a_prompt(self, photos: Path) -> None:
        prompted = cl.load_model("starter", prompt="a large")
        assert prompted.caption(photos / "00.png").caption
        assert prompted.name != cl.load_model("starter").name


class TestFigures:
    def test_samples_have_caption_and_references(self, better: cl.Model, data: cl.Dataset) -> None:
        samples = better.samples(data.held_out, count=3)
        assert [sample.references for sample in samples] == [tuple(item["captions"]) for item in data.held_out[:3]]
        assert samples[0].caption == better.caption(samples[0].path).caption
        assert samples._repr_html_().count("data:image/jpeg") == 3
        assert Path(samples[0].path).name in repr(samples)

    def test_an_evaluation_has_figures_with_intervals(self, better: cl.Model, data: cl.Dataset) -> None:
        found = cl.evaluate(better, data.held_out)
        assert {"bleu_4", "rouge_l", "cider_d"} <= found.keys()
        assert all(found.intervals[name].low <= value <= found.intervals[name].high for name, value in found.items())
        assert "CIDEr-D" in repr(found)
        assert "<table>" in found._repr_html_()
        assert not found.notes

    def test_a_comparison_has_the_figures_that_the_training_ended_with(
        self, better: cl.Model, data: cl.Dataset
    ) -> None:
        found = cl.compare(cl.load_model("starter"), better, data.held_out)
        assert better.trained is not None
        assert found.figures == better.trained.comparison.figures
        assert len(found.images) == len(data.held_out)
        assert better.name in repr(found)
        assert better.name in found._repr_html_()

    def test_pictures_that_a_model_was_trained_on_are_said(self, better: cl.Model, data: cl.Dataset) -> None:
        (note,) = cl.evaluate(better, data).notes
        assert note.startswith(f"{better.name} was trained on {len(data.train)} of these {len(data)} pictures")
        assert note in cl.compare(cl.load_model("starter"), better, data)._repr_html_()

    def test_a_comparison_is_saved_as_a_page(self, data: cl.Dataset, tmp_path: Path) -> None:
        starter = cl.load_model("starter")
        page = cl.compare(starter, starter, data.held_out).save_html(tmp_path / "page.html")
        assert page.read_text().count("data:image/jpeg") == len(data.held_out)


class TestSave:
    def test_what_is_saved_loads_in_plain_transformers(self, better: cl.Model, photos: Path, tmp_path: Path) -> None:
        from transformers import BlipForConditionalGeneration, BlipProcessor

        saved = better.save(tmp_path / "my-blip")
        BlipForConditionalGeneration.from_pretrained(saved)
        BlipProcessor.from_pretrained(saved)
        assert (saved / "report.html").is_file()
        again = cl.load_model(saved)
        assert again.name == better.name
        assert again.caption(photos / "01.png").caption == better.caption(photos / "01.png").caption

    def test_a_model_that_was_not_made_here_is_saved_as_it_is(self, photos: Path, tmp_path: Path) -> None:
        starter = cl.load_model("starter")
        saved = starter.save(tmp_path / "deep" / "copy")
        assert are_equal(saved, STARTER_DIR)
        assert cl.load_model(saved).caption(photos / "00.png").caption == starter.caption(photos / "00.png").caption

    def test_nothing_is_written_over(self, better: cl.Model, tmp_path: Path) -> None:
        (tmp_path / "thesis.tex").touch()
        with pytest.raises(CaptionloopError, match="not empty"):
            better.save(tmp_path)


def test_tqdm_is_a_dependency() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert any(name.startswith("tqdm") for name in project["dependencies"])
