"""Parsing of label configs: text boxes for captions, and the image that each describes.

A label config is a small XML document. The SDK's `LabelInterface` is not used: it builds every tag, refuses a config
with an unknown or broken tag, and takes seconds to import, for the two attributes that are needed.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from captionloop.errors import ImageError, LabelConfigError, SettingsError

# Picture and text box side by side: a text box below a tall picture is out of sight. `maxSubmissions="1"` makes the
# annotator change the suggestion; without it, they leave it standing and add a second text.
SAMPLE_LABEL_CONFIG = """\
<View style="display: flex; gap: 24px; align-items: flex-start">
  <View style="flex: 1 1 60%; min-width: 0">
    <Image name="image" value="$image" zoom="true"/>
  </View>
  <View style="flex: 0 0 36%">
    <Header value="What does the picture show?" size="4"/>
    <TextArea name="caption" toName="image" rows="3" editable="true" maxSubmissions="1"
              placeholder="Write one sentence" required="true"/>
  </View>
</View>
"""

_USABLE = '<Image name="image" value="$image"/> together with <TextArea name="caption" toName="image"/>'
# Label Studio writes `$field`, `$object.field` and `$list[0].field`, and looks each up as lodash's `get` does.
_VARIABLE = re.compile(r"\$[^\s${}]+")
_STEP = re.compile(r"[^.\[\]]+")
_NUMBER = re.compile(r"[0-9]{1,9}")  # Python refuses to read numbers of thousands of digits
_MOST_FIELDS_SHOWN = 10
_CONTROL = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,60}")
# The key of a file that was uploaded before the project had a label config.
_UNDEFINED_FIELD = "$undefined$"
# The words of a name such as `image_caption`, `imageCaption` or `ALT-text`.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
# A name with such a word says that captions are meant; the first of these kinds wins.
_CAPTION_WORDS = (
    re.compile("[a-z]*captions?"),
    re.compile("[a-z]*descriptions?|describe"),
    re.compile("alt|alttext"),
)


@dataclass(frozen=True)
class CaptionTarget:
    """The text box for captions, with its image.

    Attributes:
        from_name: the TextArea's name.
        to_name: the Image's name.
        image_field: the task field with the image's address, without the dollar sign; may be a path (`a.b[0]`).
        max_submissions: how many texts the annotator may submit; None: any number.
        per_item: True for a TextArea with a text for each image of a list; captions then belong to the first.
        earlier_names: former names of the TextArea, which older annotations have.
    """

    from_name: str
    to_name: str
    image_field: str
    max_submissions: int | None = None
    per_item: bool = False
    earlier_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelConfig:
    """The relevant parts of a label config.

    Attributes:
        boxes: the TextAreas usable for captions, in document order; at least one.
        images: name of each Image → the task field of its picture.
        tags: name of each named tag → its type as written, such as "Choices".
        has_repeater: whether there are tags in a Repeater, whose names are only known in the browser.
        has_smart_tools: whether a tag asks the ML backend while people draw.
    """

    boxes: tuple[CaptionTarget, ...]
    images: Mapping[str, str]
    tags: Mapping[str, str]
    has_repeater: bool = False
    has_smart_tools: bool = False

    @property
    def names(self) -> list[str]:
        """Names of the boxes, in document order."""
        return [box.from_name for box in self.boxes]

    def box(self, name: str) -> CaptionTarget | None:
        return next((box for box in self.boxes if box.from_name == name), None)

    @property
    def likeliest(self) -> CaptionTarget:
        """The box that is most likely for captions, by its name.

        One whose name contains caption, else description, else alt (text), else any; the first of these.
        """
        return min(self.boxes, key=lambda box: _rank(box.from_name))


def read_label_config(xml: str) -> CaptionTarget:
    """Find the TextArea that is most likely for captions, and its image; see `parse_label_config`.

    Raises:
        LabelConfigError: it is not XML, or has no such pair.
    """
    return parse_label_config(xml).likeliest


def caption_label_config(control: str | None = None) -> str:
    """A label config for captions, as that of the sample project.

    Args:
        control: the name of its text box; None: "caption".

    Raises:
        SettingsError: no tag can be called so.
    """
    name = control or "caption"
    if not _CONTROL.fullmatch(name):
        raise SettingsError(f"The text box cannot be called {name!r:.40}; expected letters, digits and underscores.")
    return SAMPLE_LABEL_CONFIG.replace('name="caption"', f'name="{name}"')


@lru_cache(maxsize=256)
def parse_label_config(xml: str) -> LabelConfig:
    """Find the TextAreas usable for captions: those that describe an Image.

    Excluded are `perRegion` TextAreas, whose text describes a part of the picture, and tags inside a `Repeater`, whose
    names are only known in the browser. Of several images, the first one that a TextArea labels counts; of an image
    list (`valueList`), the first image.

    Raises:
        LabelConfigError: it is not XML, or has no such pair.
    """
    root = parse_xml(xml)
    try:
        elements = list(_outside_repeaters(root))
    except RecursionError as error:
        raise LabelConfigError("The label config has tags within tags of too many levels.") from error
    images = {element.get("name", ""): element for element in elements if _is_tag(element, "Image")}
    fields = {name: field for name, image in images.items() if (field := _image_field(image)) is not None}
    boxes = tuple(box for element in elements if (box := _caption_box(element, fields)) is not None)
    if not boxes:
        raise LabelConfigError(_what_is_missing(elements, images))
    tags = {name: element.tag for element in elements if (name := element.get("name"))}
    has_repeater = any(_is_tag(element, "Repeater") for element in root.iter())
    has_smart_tools = any(_is_smart(element) for element in root.iter())
    return LabelConfig(boxes, fields, tags, has_repeater, has_smart_tools)


def _is_smart(element: Element) -> bool:
    return any(element.get(name, "").lower() == "true" for name in ("smart", "smartOnly"))


def task_image(target: CaptionTarget, task_data: Mapping[str, Any]) -> str:
    """The address of the task's image: the value of the field that the label config names.

    Raises:
        ImageError: the field is missing or empty, or holds no text.
    """
    field = target.image_field
    value = _look_up(task_data, field)
    if value is None:
        value = task_data.get(_UNDEFINED_FIELD)
    if isinstance(value, (list, tuple)):
        value = next(iter(value), None)
    if isinstance(value, str) and value.strip():
        return value.strip()
    if value is None:
        fields = ", ".join(f"{name:.40}" for name in islice(sorted(task_data), _MOST_FIELDS_SHOWN)) or "none"
        fields += ", …" if len(task_data) > _MOST_FIELDS_SHOWN else ""
        raise ImageError(f"The task has no field {field!r}, where its image should be (it has: {fields}).")
    if value == "" or isinstance(value, str):
        raise ImageError(f"The task's field {field!r}, where its image should be, is empty.")
    raise ImageError(f"The task's field {field!r} holds {type(value).__name__}, not the address of an image.")


def parse_xml(xml: str) -> Element:
    """The root of a label config.

    Raises:
        LabelConfigError: it is not XML.
    """
    try:
        root: Element = fromstring(xml)
        return root
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise LabelConfigError(
            f"The label config is not readable XML ({error}). A usable one holds {_USABLE}."
        ) from error


def _outside_repeaters(element: Element) -> Iterator[Element]:
    if _is_tag(element, "Repeater"):
        return
    yield element
    for child in element:
        yield from _outside_repeaters(child)


def _caption_box(element: Element, fields: Mapping[str, str]) -> CaptionTarget | None:
    """The tag as a box for captions; None if it is not usable."""
    if not _is_tag(element, "TextArea") or _is_true(element.get("perRegion")):
        return None
    name = element.get("name")
    to_name = next((found for found in _split_names(element.get("toName")) if found in fields), None)
    if not name or to_name is None:
        return None
    return CaptionTarget(
        from_name=name,
        to_name=to_name,
        image_field=fields[to_name],
        max_submissions=_whole_number(element.get("maxSubmissions")),
        per_item=_is_true(element.get("perItem")),
    )


def _rank(name: str) -> int:
    words = [word.lower() for word in _WORD.findall(name)]
    kinds = enumerate(_CAPTION_WORDS)
    return next((rank for rank, kind in kinds if any(map(kind.fullmatch, words))), len(_CAPTION_WORDS))


def _image_field(image: Element) -> str | None:
    value = (image.get("value") or image.get("valueList") or "").strip()
    return value[1:] if _VARIABLE.fullmatch(value) else None


def _what_is_missing(elements: Sequence[Element], images: Mapping[str, Element]) -> str:
    if not images:
        found = "it has no Image"
    elif not any(_is_tag(element, "TextArea") for element in elements):
        found = "it has no TextArea"
    elif all(_image_field(image) is None for image in images.values()):
        found = 'its Image takes its picture from no task field (value="$image")'
    else:
        found = "none of its TextAreas describes a whole Image"
    return f"The label config has no place for captions: {found}. A usable one holds {_USABLE}."


def _is_tag(element: Element, name: str) -> bool:
    # Label Studio's frontend takes tag names in any case.
    return element.tag.lower() == name.lower()


def _look_up(data: Mapping[str, Any], path: str) -> Any:
    """`data[path]`, or the value that the steps of the path lead to; None when there is none."""
    if path in data:
        return data[path]
    value: Any = data
    for step in _STEP.findall(path):
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and _NUMBER.fullmatch(step) and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def _split_names(names: str | None) -> list[str]:
    return [name.strip() for name in (names or "").split(",") if name.strip()]


def _is_true(value: str | None) -> bool:
    return (value or "").strip().lower() == "true"


def _whole_number(value: str | None) -> int | None:
    text = (value or "").strip()
    return int(text) if _NUMBER.fullmatch(text) and int(text) > 0 else None
