"""Our style in label configs, as text; how it looks is tested in `tests/e2e/test_editor_in_label_studio.py`."""

import pytest

from captionloop.backend.label_studio.editor_style import with_editor_style
from captionloop.backend.label_studio.label_config import SAMPLE_LABEL_CONFIG, parse_label_config
from captionloop.errors import LabelConfigError

IMAGE = '<Image name="image" value="$image"/>'
CAPTION = '<TextArea name="caption" toName="image" maxSubmissions="1"/>'


@pytest.mark.parametrize(
    "xml",
    [
        SAMPLE_LABEL_CONFIG,
        f"<View>{IMAGE}{CAPTION}</View>",
        f'<?xml version="1.0"?>\n<View title="a > b">\n<!-- ours -->{IMAGE}{CAPTION}</View>',
        f"<View><Style>.a {{ color: red }}</Style>{IMAGE}{CAPTION}</View>",
    ],
)
def test_it_is_added_once_and_all_else_stays(xml: str) -> None:
    styled = with_editor_style(xml)

    assert with_editor_style(styled) == styled
    assert parse_label_config(styled) == parse_label_config(xml)
    style = styled[styled.index("<Style>") : styled.index("</Style>") + len("</Style>")]
    assert styled.replace(f"\n  {style}", "") == xml
    assert "htx-textbox-actions" in style
    assert "sidepanels" in style


@pytest.mark.parametrize("more", ["", 'maxSubmissions="3"'])
def test_the_bin_stays_where_a_text_may_be_one_too_many(more: str) -> None:
    assert "Delete Region" not in with_editor_style(f'<View>{IMAGE}<TextArea name="a" toName="image" {more}/></View>')


def test_the_panels_stay_where_people_draw_regions() -> None:
    boxes = '<RectangleLabels name="box" toName="image"><Label value="cat"/></RectangleLabels>'
    assert "sidepanels" not in with_editor_style(f"<View>{IMAGE}{CAPTION}{boxes}</View>")


@pytest.mark.parametrize("xml", ["<View/>", "<View>", f"<!-- <View> --><View>{IMAGE}{CAPTION}</View>"])
def test_a_config_that_cannot_be_changed_is_refused_with_the_reason(xml: str) -> None:
    with pytest.raises(LabelConfigError):
        with_editor_style(xml)
