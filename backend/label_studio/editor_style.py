"""The `<Style>` of a label config that makes Label Studio's editor fit for captions.

As Label Studio draws a text that can be edited, its pencil shows only under the mouse and lies over the text, beside a
bin that empties a caption in one press; two panels about regions, of which a caption has none, take a quarter of the
window. The names of its parts are those of 1.23.2; a release without them ignores the rules.
"""

import re

from captionloop.backend.label_studio.label_config import LabelConfig, parse_label_config, parse_xml
from captionloop.errors import LabelConfigError

_MARK = "/* Captionloop */"
_PENCIL = """\
[data-testid="htx-textbox-view"] { display: flex !important; flex-direction: row !important; gap: 8px }
    [data-testid="htx-textbox-actions"] { position: static !important; opacity: 1 !important; flex: none }"""
_NO_BIN = '[data-testid="textarea-region"] [aria-label="Delete Region"] { display: none !important }'
_NO_PANELS = """\
.lsf-sidepanels__wrapper_align_right { display: none !important }
    .lsf-sidepanels { padding-right: 0 !important }"""
# Tags whose results the panels say nothing of.
_WITHOUT_REGIONS = frozenset({"image", "textarea", "choices", "rating", "text", "header", "view", "style", "hypertext"})
_OURS = re.compile(rf"\s*<Style>\s*{re.escape(_MARK)}.*?</Style>", re.DOTALL)
_OPENING = re.compile(r"""<[A-Za-z](?:[^<>"']|"[^"]*"|'[^']*')*>""")


def with_editor_style(xml: str) -> str:
    """A label config with our style at its beginning; an earlier one of ours is replaced.

    The bin stays where several texts may be submitted, and the panels where people draw regions.

    Raises:
        LabelConfigError: it has no text box for captions, or cannot be changed.
    """
    own = _OURS.sub("", xml)
    config = parse_label_config(own)
    opening = _OPENING.search(own)
    if opening is None or opening[0].endswith("/>"):
        raise _cannot_be_changed()
    made = f"{own[: opening.end()]}\n{_style(config)}{own[opening.end() :]}"
    if not _stands_first(made) or parse_label_config(made) != config:  # such as an opening tag within a comment
        raise _cannot_be_changed()
    return made


def _stands_first(xml: str) -> bool:
    root = parse_xml(xml)
    return len(root) > 0 and root[0].tag == "Style"


def _cannot_be_changed() -> LabelConfigError:
    return LabelConfigError(
        "The label config could not be given our style; write its root as <View> … </View>, with no comment before it."
    )


def _style(config: LabelConfig) -> str:
    rules = [_PENCIL]
    if all(box.max_submissions == 1 for box in config.boxes):
        rules.append(_NO_BIN)
    if {tag.lower() for tag in config.tags.values()} <= _WITHOUT_REGIONS:
        rules.append(_NO_PANELS)
    shown = "\n    ".join(rules)
    return f"  <Style>\n    {_MARK}\n    {shown}\n  </Style>"
