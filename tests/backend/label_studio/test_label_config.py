"""A label config is read, not assumed: any names, any number of other controls, one usable pair."""

import pytest

from captionloop.backend.label_studio.label_config import (
    SAMPLE_LABEL_CONFIG,
    CaptionTarget,
    read_label_config,
    task_image,
)
from captionloop.errors import ImageError, LabelConfigError


def config(*tags: str) -> str:
    return f"<View>{''.join(tags)}</View>"


IMAGE = '<Image name="image" value="$image"/>'
CAPTION = '<TextArea name="caption" toName="image"/>'


def test_the_sample_config_is_usable_and_allows_one_text() -> None:
    assert read_label_config(SAMPLE_LABEL_CONFIG) == CaptionTarget("caption", "image", "image", max_submissions=1)


def test_the_sample_config_lets_a_suggestion_be_edited() -> None:
    assert 'editable="true"' in SAMPLE_LABEL_CONFIG


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        pytest.param(config(IMAGE, CAPTION), CaptionTarget("caption", "image", "image"), id="plain"),
        pytest.param(config(CAPTION, IMAGE), CaptionTarget("caption", "image", "image"), id="text box first"),
        pytest.param(
            config('<Image name="Foto 1" value="$bild_url"/>', '<TextArea name="Text" toName="Foto 1"/>'),
            CaptionTarget("Text", "Foto 1", "bild_url"),
            id="names and fields of its own",
        ),
        pytest.param(
            config(
                '<Header value="Describe"/><Choices name="kind" toName="image"><Choice value="a"/></Choices>',
                IMAGE,
                '<RectangleLabels name="box" toName="image"><Label value="cat"/></RectangleLabels>',
                '<Text name="hint" value="$hint"/><TextArea name="note" toName="hint"/>',
                CAPTION,
            ),
            CaptionTarget("caption", "image", "image"),
            id="controls of other kinds beside it",
        ),
        pytest.param(
            config(IMAGE, '<TextArea name="short" toName="image"/><TextArea name="long" toName="image"/>'),
            CaptionTarget("short", "image", "image"),
            id="of several text boxes the first",
        ),
        pytest.param(
            config(
                '<Image name="before" value="$one"/><Image name="after" value="$two"/>',
                '<TextArea name="caption" toName="after"/>',
            ),
            CaptionTarget("caption", "after", "two"),
            id="of several images the one that is labelled",
        ),
        pytest.param(
            config(
                '<Image name="before" value="$one"/><Image name="after" value="$two"/>',
                '<TextArea name="caption" toName="before,after"/>',
            ),
            CaptionTarget("caption", "before", "one"),
            id="one text box for two images",
        ),
        pytest.param(
            config('<Image name="pages" valueList="$urls"/>', '<TextArea name="caption" toName="pages"/>'),
            CaptionTarget("caption", "pages", "urls"),
            id="image list",
        ),
        pytest.param(
            config('<Image name="pages" valueList="$urls"/>', '<TextArea name="c" toName="pages" perItem="true"/>'),
            CaptionTarget("c", "pages", "urls", per_item=True),
            id="a text for each image of a list",
        ),
        pytest.param(
            config('<Image name="image" value="$photo.urls[0]"/>', CAPTION),
            CaptionTarget("caption", "image", "photo.urls[0]"),
            id="nested field",
        ),
        pytest.param(
            config(IMAGE, '<TextArea name="caption" toName="image" maxSubmissions="2"/>'),
            CaptionTarget("caption", "image", "image", max_submissions=2),
            id="max submissions",
        ),
        pytest.param(
            config(IMAGE, '<TextArea name="region" toName="image" perRegion="true"/>', CAPTION),
            CaptionTarget("caption", "image", "image"),
            id="a text for each region is no caption",
        ),
        pytest.param(
            config('<image name="image" value="$image"/><textarea name="caption" toName="image"/>'),
            CaptionTarget("caption", "image", "image"),
            id="tags in lower case",
        ),
        pytest.param(
            '<?xml version="1.0"?><!-- ours --><View><View><View>' + IMAGE + CAPTION + "</View></View></View>",
            CaptionTarget("caption", "image", "image"),
            id="deep down, with comments",
        ),
    ],
)
def test_a_usable_pair_is_found(xml: str, expected: CaptionTarget) -> None:
    assert read_label_config(xml) == expected


@pytest.mark.parametrize(
    ("xml", "cause"),
    [
        (config(), "it has no Image"),
        (config('<Text name="text" value="$text"/><TextArea name="t" toName="text"/>'), "it has no Image"),
        (config(IMAGE), "it has no TextArea"),
        (config(IMAGE, '<Choices name="c" toName="image"><Choice value="a"/></Choices>'), "it has no TextArea"),
        (config(IMAGE, '<TextArea name="c" toName="elsewhere"/>'), "none of its TextAreas describes a whole Image"),
        (config(IMAGE, '<TextArea name="t" toName="image" perRegion="true"/>'), "none of its TextAreas describes"),
        (config('<Image name="image" value="logo.png"/>', CAPTION), "its Image takes its picture from no task field"),
        (config(f'<Repeater on="$images" indexFlag="{{{{i}}}}">{IMAGE}{CAPTION}</Repeater>'), "it has no Image"),
        ("<View>", "not readable XML"),
        ("", "not readable XML"),
        ('<!DOCTYPE v [<!ENTITY a "aaaa">]><View>&a;</View>', "not readable XML"),
    ],
)
def test_a_config_without_a_usable_pair_says_so_and_shows_one(xml: str, cause: str) -> None:
    with pytest.raises(LabelConfigError) as caught:
        read_label_config(xml)
    assert cause in str(caught.value)
    assert '<TextArea name="caption" toName="image"/>' in str(caught.value)


@pytest.mark.parametrize(
    ("field", "data", "expected"),
    [
        ("image", {"image": "/data/upload/1/a.png"}, "/data/upload/1/a.png"),
        ("image", {"image": " https://images.test/a.png\n"}, "https://images.test/a.png"),
        ("pages", {"pages": ["/1.png", "/2.png"]}, "/1.png"),
        ("photo.urls[1]", {"photo": {"urls": ["/1.png", "/2.png"]}}, "/2.png"),
        ("a.b", {"a.b": "/flat.png", "a": {"b": "/deep.png"}}, "/flat.png"),
        ("image", {"$undefined$": "/data/upload/1/early.png"}, "/data/upload/1/early.png"),
    ],
)
def test_the_image_of_a_task_is_where_the_config_says(field: str, data: dict[str, object], expected: str) -> None:
    assert task_image(CaptionTarget("caption", "image", field), data) == expected


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "no field 'image', where its image should be (it has: none)"),
        ({"picture": "/a.png", "id": 7}, "no field 'image', where its image should be (it has: id, picture)"),
        ({"image": None}, "no field 'image'"),
        ({"image": []}, "no field 'image'"),
        ({"image": "  "}, "field 'image', where its image should be, is empty"),
        ({"image": {"url": "/a.png"}}, "field 'image' holds dict, not the address of an image"),
        ({"image": 7}, "field 'image' holds int"),
    ],
)
def test_a_task_without_an_image_says_what_is_missing(data: dict[str, object], message: str) -> None:
    with pytest.raises(ImageError) as caught:
        task_image(CaptionTarget("caption", "image", "image"), data)
    assert message in str(caught.value)


def test_tags_within_tags_without_end_are_refused() -> None:
    with pytest.raises(LabelConfigError, match="too many levels"):
        read_label_config("<View>" * 5000 + "</View>" * 5000)


def test_numbers_of_thousands_of_digits_are_none() -> None:
    endless = "9" * 5000
    image, text = (
        f'<Image name="i" value="$a[{endless}]"/>',
        f'<TextArea name="t" toName="i" maxSubmissions="{endless}"/>',
    )

    target = read_label_config(config(image, text))

    assert target.max_submissions is None
    with pytest.raises(ImageError, match="no field"):
        task_image(target, {"a": ["http://x/y.png"]})


def test_of_a_task_with_thousands_of_fields_a_few_are_named() -> None:
    with pytest.raises(ImageError) as caught:
        task_image(CaptionTarget("t", "i", "image"), {f"{number} " * 50: "" for number in range(5000)})

    assert len(str(caught.value)) < 600
