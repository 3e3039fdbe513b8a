import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.support.models import add_project, tiny_base
from tests.support.versions import COLOURS, human_caption, take_snapshot

from captionloop.errors import CaptionFileError, CaptionloopError, NotFoundError
from captionloop.home import Home
from captionloop.image_limits import ImageLimits
from captionloop.model.blip.checkpoint import load_checkpoint
from captionloop.model.blip.generation_settings import GenerationSettings, TaughtStyle
from captionloop.model.captioning.captioner import Captioner
from captionloop.model.captioning.feature_cache import FeatureCache
from captionloop.model.database import Database
from captionloop.model.dataset import corrections
from captionloop.model.dataset.corrections import Snapshot
from captionloop.model.dataset.images import open_image
from captionloop.model.dataset.split import split_images
from captionloop.model.dataset.styles import begin_style, move_corrections
from captionloop.model.exchange.evaluation_set import EvaluationSet, JudgedStyle, find_snapshot, open_evaluation_set
from captionloop.model.exchange.reading import BadRow
from captionloop.model.vocabulary.style_tokens import with_style_tokens


def opened(dataset: str, *, home: Home, bad: list[BadRow] | None = None, **options: Any) -> EvaluationSet:
    """Bad rows go to a list; without one there must be none."""
    found: list[BadRow] = [] if bad is None else bad
    chosen = open_evaluation_set(dataset, home=home, limits=ImageLimits(), on_bad=found.append, **options)
    assert bad is not None or not found
    return chosen


@pytest.fixture
def snapshot(database: Database, home: Home) -> Snapshot:
    return take_snapshot(database, home, add_project(database))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    directory = tmp_path / "pictures"
    (directory / "val2014").mkdir(parents=True)
    for number, colour in enumerate(COLOURS[:4]):
        Image.new("RGB", (32, 32), colour).save(directory / "val2014" / f"{number}.png")
    return directory


def annotations(path: Path, names: list[str]) -> Path:
    content = {
        "images": [{"id": number, "file_name": name} for number, name in enumerate(names)],
        "annotations": [{"image_id": number, "caption": f"picture {number}"} for number in range(len(names))],
    }
    path.write_text(json.dumps(content))
    return path


def test_a_snapshot_is_found_by_the_beginning_of_its_hash(snapshot: Snapshot, home: Home) -> None:
    assert find_snapshot(home, snapshot.hash[:6]) == snapshot


def test_the_beginning_of_two_hashes_is_not_enough(snapshot: Snapshot, home: Home) -> None:
    (home.datasets / f"{snapshot.hash[:6]}{'0' * 58}.jsonl").touch()
    with pytest.raises(NotFoundError, match="Several snapshots begin with"):
        find_snapshot(home, snapshot.hash[:6])


@pytest.mark.parametrize("name", ["0000", ""])
def test_a_dataset_that_is_nowhere_is_not_found(snapshot: Snapshot, home: Home, name: str) -> None:
    with pytest.raises(NotFoundError, match="There is no dataset"):
        find_snapshot(home, name)


def test_a_changed_snapshot_is_refused(snapshot: Snapshot, home: Home) -> None:
    snapshot.path.chmod(0o600)
    snapshot.path.write_text("")
    with pytest.raises(CaptionloopError, match="was changed"):
        opened(snapshot.hash, home=home)


def test_the_held_out_images_of_a_snapshot_are_scored(snapshot: Snapshot, home: Home) -> None:
    found = opened(snapshot.hash, home=home)
    assert tuple(found.pictures) == split_images(example.image for example in snapshot.examples).held_out
    assert found.references.keys() == found.pictures.keys()
    assert sorted(map(list, found.corpus)) == sorted([human_caption(colour)] for colour in COLOURS)


@pytest.fixture
def styled(database: Database, home: Home) -> Snapshot:
    """Every other caption is in the style "British"; the style "terse" has none."""
    project = add_project(database)
    taken = take_snapshot(database, home, project)
    with database.session() as session:
        for name in ("terse", "British"):
            begin_style(session, project.id, name)
        move_corrections(session, project.id, [each.correction for each in taken.examples[1::2]], to="British")
    with database.session() as session:
        return corrections.snapshot(session, project.id, home)


def of_style(snapshot: Snapshot, style: str | None) -> dict[str, list[str]]:
    return {each.image: [each.caption] for each in snapshot.examples if each.style == style}


@pytest.mark.parametrize(
    ("asked", "style"),
    [
        ({}, None),
        ({"served": "British"}, "British"),
        ({"served": "terse"}, "British"),  # the latest that there are captions in
        ({"style": "British"}, "British"),
        ({"style": "", "served": "British"}, None),
    ],
)
def test_a_snapshot_is_judged_in_one_of_its_styles(
    styled: Snapshot, home: Home, asked: dict[str, Any], style: str | None
) -> None:
    found = opened(styled.hash, home=home, split="all", **asked)
    assert found.style == JudgedStyle(style, is_chosen=True)
    assert found.references == of_style(styled, style)
    assert sorted(map(list, found.corpus)) == sorted(of_style(styled, style).values())
    train = set(styled.split().train) & of_style(styled, style).keys()
    assert opened(styled.hash, home=home, split="train", **asked).pictures.keys() == train


def test_a_style_without_captions_is_named_with_those_that_have_some(styled: Snapshot, home: Home) -> None:
    with pytest.raises(NotFoundError, match=r"no caption in the style 'terse'. Its styles: .*'British'"):
        opened(styled.hash, home=home, style="terse")


def test_a_model_writes_in_the_style_that_it_is_judged_in(styled: Snapshot, home: Home, tmp_path: Path) -> None:
    checkpoint = with_style_tokens(load_checkpoint(tiny_base(tmp_path / "base").source), ["[style1]"])
    generation = GenerationSettings(max_length=8, styles={"British": TaughtStyle("[style1]")})
    captioner = Captioner(checkpoint, version="v", generation=generation)
    for style in ("", "British"):
        chosen = opened(styled.hash, home=home, split="all", style=style)
        written = chosen.caption(captioner, limits=ImageLimits(), on_progress=lambda done, total: None)
        pictures = [open_image(home.image(image).read_bytes()) for image in written]
        expected = captioner.in_style(style or None).caption(pictures)
        assert list(written.values()) == [found.caption for found in expected]


@pytest.mark.parametrize(("split", "share"), [("train", "train"), ("held-out", "held_out")])
def test_a_split_of_a_snapshot_is_that_of_the_run(snapshot: Snapshot, home: Home, split, share: str) -> None:  # type: ignore[no-untyped-def]
    divided = split_images(example.image for example in snapshot.examples)
    assert tuple(opened(snapshot.hash, home=home, split=split).pictures) == getattr(divided, share)


def test_all_images_of_a_snapshot_are_scored_on_demand(snapshot: Snapshot, home: Home) -> None:
    assert len(opened(snapshot.hash, home=home, split="all").pictures) == len(COLOURS)


def test_pictures_of_a_file_are_found_below_the_directory(home: Home, pictures: Path, tmp_path: Path) -> None:
    path = annotations(tmp_path / "a.json", ["val2014/0.png", "val2014/1.png"])
    found = opened(str(path), home=home, images=pictures)
    assert files(found) == {"0": pictures / "val2014/0.png", "1": pictures / "val2014/1.png"}
    assert found.references == {"0": ["picture 0"], "1": ["picture 1"]}


def test_pictures_of_a_file_are_found_right_in_the_directory(home: Home, pictures: Path, tmp_path: Path) -> None:
    path = annotations(tmp_path / "a.json", ["val2014/0.png"])
    found = opened(str(path), home=home, images=pictures / "val2014")
    assert files(found) == {"0": pictures / "val2014" / "0.png"}


def files(found: EvaluationSet) -> dict[str, Path]:
    return {image: picture.path for image, picture in found.pictures.items()}


def test_pictures_may_lie_beside_the_file_that_names_them(home: Home, pictures: Path) -> None:
    path = annotations(pictures / "a.json", ["val2014/0.png"])
    assert files(opened(str(path), home=home)) == {"0": pictures / "val2014" / "0.png"}


def test_rows_that_cannot_be_used_are_named_and_the_rest_is_scored(home: Home, pictures: Path, tmp_path: Path) -> None:
    (pictures / "broken.png").write_bytes(b"no picture")
    path = annotations(tmp_path / "a.json", ["gone.png", "val2014/0.png", "broken.png"])
    bad: list[BadRow] = []

    found = opened(str(path), home=home, images=pictures, bad=bad)

    assert list(found.pictures) == ["1"]
    assert found.references == {"1": ["picture 1"]}
    assert found.bad == 2
    assert [str(row.place) for row in bad] == [f"{path}, annotations 1", f"{path}, annotations 3"]
    assert "There is no picture 'gone.png'" in bad[0].reason
    assert "The file is not an image" in bad[1].reason


def test_an_id_of_several_pictures_stands_for_the_first(home: Home, pictures: Path, tmp_path: Path) -> None:
    images = [
        {"split": "test", "filename": f"val2014/{number}.png", "cocoid": 9, "sentences": [{"raw": f"picture {number}"}]}
        for number in range(2)
    ]
    path = tmp_path / "dataset_coco.json"
    path.write_text(json.dumps({"images": images}))
    bad: list[BadRow] = []

    found = opened(str(path), home=home, images=pictures, bad=bad)

    assert found.references == {"9": ["picture 0"]}
    assert [row.reason for row in bad] == ["Its id 9 stands for another picture already; give each its own."]


@pytest.mark.parametrize(
    ("names", "error"), [(["gone.png", "too.png"], NotFoundError), (["broken.png"], CaptionFileError)]
)
def test_a_dataset_without_a_usable_row_is_refused(
    home: Home, pictures: Path, tmp_path: Path, names: list[str], error: type[Exception]
) -> None:
    (pictures / "broken.png").write_bytes(b"no picture")
    path = annotations(tmp_path / "a.json", names)
    with pytest.raises(error, match=r"No row of .*a\.json can be used, so .* annotations 1: "):
        opened(str(path), home=home, images=pictures, bad=[])


def test_results_name_no_pictures(home: Home, pictures: Path, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps([{"image_id": 5, "caption": "x"}]))
    with pytest.raises(CaptionFileError, match="does not say which file image 5 is"):
        opened(str(path), home=home, images=pictures, bad=[])


def test_a_directory_with_metadata_is_read(home: Home, pictures: Path) -> None:
    lines: list[dict[str, Any]] = [
        {"file_name": "0.png", "text": "zero"},
        {"file_name": "1.png", "captions": ["one", "1"]},
    ]
    directory = pictures / "val2014"
    (directory / "metadata.jsonl").write_text("\n".join(map(json.dumps, [*lines, {**lines[0], "text": "nought"}])))
    found = opened(str(directory), home=home)
    assert found.references == {"0.png": ["zero", "nought"], "1.png": ["one", "1"]}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 1: The line is no valid JSON"),
        ("[]", "line 1: The line is []; expected a JSON object"),
        ('{"text": "x"}', "line 1: There is no picture, only 'text'; looked for were file_name"),
        ('{"file_name": "0.png"}', "line 1: There is no caption"),
        ('{"file_name": "0.png", "text": ["x", 5]}', "line 1: The caption is 5"),
    ],
)
def test_a_bad_line_of_metadata_is_named(home: Home, pictures: Path, line: str, said: str) -> None:
    (pictures / "val2014" / "metadata.jsonl").write_text(line + "\n")
    with pytest.raises(CaptionFileError, match=re.escape(said)):
        opened(str(pictures / "val2014"), home=home, bad=[])


def test_a_directory_without_captions_is_no_dataset(home: Home, pictures: Path) -> None:
    with pytest.raises(CaptionFileError, match="has no file of captions"):
        opened(str(pictures), home=home)


@pytest.mark.parametrize(
    ("split", "expected"),
    [(None, ["1.png"]), ("held-out", ["1.png"]), ("train", ["0.png"]), ("all", ["0.png", "1.png"])],
)
def test_a_dataset_that_is_divided_is_judged_by_what_it_holds_out(  # type: ignore[no-untyped-def]
    home: Home, pictures: Path, split, expected: list[str]
) -> None:
    lines = ["image,caption,split", "0.png,zero,train", "1.png,one,test"]
    (pictures / "val2014" / "x.csv").write_text("\n".join(lines))
    found = opened(str(pictures / "val2014"), home=home, split=split)
    assert list(found.pictures) == expected


def test_pictures_of_another_split_need_not_be_there(home: Home, pictures: Path) -> None:
    lines = ["image,caption,split", "gone.png,zero,train", "1.png,one,test"]
    (pictures / "val2014" / "x.csv").write_text("\n".join(lines))
    assert list(opened(str(pictures / "val2014"), home=home).pictures) == ["1.png"]


def test_a_version_captions_every_picture_and_says_how_far_it_is(
    snapshot: Snapshot, home: Home, tmp_path: Path
) -> None:
    captioner = load_tiny(tmp_path, home)
    chosen = opened(snapshot.hash, home=home, split="all")
    told: list[tuple[int, int]] = []

    written = chosen.caption(
        captioner, limits=ImageLimits(), on_progress=lambda done, total: told.append((done, total))
    )

    assert list(written) == list(chosen.pictures)
    assert told[-1] == (len(COLOURS), len(COLOURS))
    assert home.features.is_dir()


def test_pictures_that_are_not_ours_leave_no_features(home: Home, pictures: Path, tmp_path: Path) -> None:
    chosen = opened(str(annotations(tmp_path / "a.json", ["0.png"])), home=home, images=pictures / "val2014")

    chosen.caption(load_tiny(tmp_path, home), limits=ImageLimits(), on_progress=lambda done, total: None)

    assert not home.features.exists()


def load_tiny(tmp_path: Path, home: Home) -> Captioner:
    base = tiny_base(tmp_path / "tiny")
    cache = FeatureCache(home.features, max_bytes=10**8)
    return Captioner.load(base.source, version="v1", generation=base.generation, precision="fp32", features=cache)
