import json
from pathlib import Path
from typing import Any

import pytest

from captionloop.errors import CaptionFileError, NotFoundError
from captionloop.model.exchange.references import read_caption_file, read_captions, read_references, to_coco_results

KARPATHY = {
    "dataset": "coco",
    "images": [
        {"split": split, "filepath": "val2014", "filename": f"{number}.jpg", "cocoid": number,
         "sentences": [{"raw": f"caption {number}", "tokens": ["caption"]}, {"raw": "another"}]}
        for number, split in enumerate(["test", "train", "restval", "val"], 1)
    ],
}  # fmt: skip
ANNOTATIONS = {
    "images": [{"id": 7, "file_name": "seven.jpg"}, {"id": 8, "file_name": "eight.jpg"}],
    "annotations": [
        {"id": 1, "image_id": 8, "caption": "eight"},
        {"id": 2, "image_id": 7, "caption": "seven"},
        {"id": 3, "image_id": 7, "caption": "a seven"},
    ],
}
RESULTS = [{"image_id": 7, "caption": "seven"}, {"image_id": 8, "caption": "an eight"}]


@pytest.fixture
def written(tmp_path: Path):  # type: ignore[no-untyped-def]
    def write(content: Any) -> Path:
        path = tmp_path / "file.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write


def test_plain_references_are_read(written) -> None:  # type: ignore[no-untyped-def]
    assert read_references(written({"a": ["x", "y"], "b": ["z"]})) == {"a": ["x", "y"], "b": ["z"]}


def test_plain_captions_are_read(written) -> None:  # type: ignore[no-untyped-def]
    assert read_captions(written({"a": "x", "b": ""})) == {"a": "x", "b": ""}


def test_annotations_are_references_by_image_id(written) -> None:  # type: ignore[no-untyped-def]
    assert read_references(written(ANNOTATIONS)) == {"7": ["seven", "a seven"], "8": ["eight"]}


def test_annotations_name_their_pictures(written) -> None:  # type: ignore[no-untyped-def]
    assert [entry.picture for entry in read_caption_file(written(ANNOTATIONS)).values()] == ["seven.jpg", "eight.jpg"]


def test_results_are_captions_by_image_id(written) -> None:  # type: ignore[no-untyped-def]
    assert read_captions(written(RESULTS)) == {"7": "seven", "8": "an eight"}


@pytest.mark.parametrize(
    ("split", "images"), [(None, ["1"]), ("held-out", ["1"]), ("train", ["2", "3"]), ("all", ["1", "2", "3", "4"])]
)
def test_a_karpathy_split_gives_the_images_that_papers_use(written, split, images) -> None:  # type: ignore[no-untyped-def]
    assert list(read_references(written(KARPATHY), split=split)) == images


def test_a_karpathy_split_has_raw_sentences_and_pictures(written) -> None:  # type: ignore[no-untyped-def]
    entry = read_caption_file(written(KARPATHY))["1"]
    assert (entry.captions, entry.picture) == (["caption 1", "another"], "val2014/1.jpg")


def test_a_karpathy_split_of_flickr_has_ids_of_its_own(written) -> None:  # type: ignore[no-untyped-def]
    image = {"split": "test", "filename": "x.jpg", "imgid": 31, "sentences": [{"raw": "a dog"}]}
    assert read_references(written({"images": [image]})) == {"31": ["a dog"]}


def test_results_come_back_as_they_were(written) -> None:  # type: ignore[no-untyped-def]
    assert to_coco_results(read_captions(written(RESULTS))) == RESULTS


@pytest.mark.parametrize("image", ["042", "img7", "４２", "-1"])
def test_an_id_that_is_no_plain_number_stays_a_text(image: str) -> None:
    assert to_coco_results({image: "x"}) == [{"image_id": image, "caption": "x"}]


def test_a_byte_order_mark_is_no_matter(tmp_path: Path) -> None:
    path = tmp_path / "bom.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"a": "x"}).encode())
    assert read_captions(path) == {"a": "x"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", r"file\.json is no valid JSON: .*line 1"),
        ("5", "holds 5; expected COCO's"),
        ({"a": 5}, "image 'a': the caption is 5; expected a text"),
        ({"a": ["x", None]}, "image 'a': the caption is null"),
        ([5], "entry 1: The entry is 5; expected a JSON object"),
        ([{"caption": "x"}], 'entry 1: "image_id" is missing; expected a number or a text'),
        ([{"image_id": True, "caption": "x"}], 'entry 1: "image_id" is true'),
        ([{"image_id": 1}], "entry 1: There is no caption, only 'image_id'; looked for were text"),
        ({"annotations": []}, 'has no "images"'),
        ({"images": [{"id": 1}], "annotations": [{"image_id": 2, "caption": "x"}]}, "no image with the id 2"),
        ({"images": [{"id": 1, "file_name": 3}], "annotations": []}, 'images 1: "file_name" is 3'),
        ({"images": [{"split": "dev", "sentences": []}]}, "images 1: \"split\" is 'dev'; expected restval, test"),
        ({"images": [{"split": "test", "filename": "x", "sentences": []}]}, 'images 1: "imgid" is missing'),
        (
            {"images": [{"split": "test", "filename": "x", "cocoid": 1, "sentences": [{}]}]},
            'images 1: In sentences 1: "raw" is missing',
        ),
        ({"images": [{"split": "test", "filename": "x", "cocoid": 1, "sentences": 3}]}, '"sentences" is 3'),
    ],
)
def test_a_wrong_file_is_refused_with_its_name_and_the_field(written, content, said: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(CaptionFileError, match=said) as error:
        read_caption_file(written(content), split="all")
    assert "file.json" in str(error.value)


def test_two_captions_for_an_image_are_no_captions_to_score(written) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(CaptionFileError, match="image 7 has 2 captions; expected one"):
        read_captions(written(ANNOTATIONS))


def test_a_file_without_splits_has_no_train_split(written) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(CaptionFileError, match="is not divided into splits; leave out --split train"):
        read_references(written(ANNOTATIONS), split="train")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"There is no file .*nothing\.json"):
        read_captions(tmp_path / "nothing.json")


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latin.json"
    path.write_bytes('{"a": "café"}'.encode("latin-1"))
    with pytest.raises(CaptionFileError, match="is not in UTF-8"):
        read_captions(path)
