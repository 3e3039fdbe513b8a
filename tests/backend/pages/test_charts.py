"""Charts as SVG, screen readers included."""

from xml.etree.ElementTree import Element

import pytest
from defusedxml.ElementTree import fromstring

from captionloop.backend.pages.charts import VersionPoint, loss_chart, sparkline, version_chart


def points(*values: float) -> list[VersionPoint]:
    return [VersionPoint(f"v{number}-ab", value, value, value, 10) for number, value in enumerate(values, 1)]


def drawn(values: list[VersionPoint], *, is_share: bool = True, champion: str = "") -> Element:
    return fromstring(version_chart(values, title="kept", is_share=is_share, champion=champion))


def texts(chart: Element, kind: str) -> list[str]:
    return [item.text or "" for item in chart.iter("text") if item.get("class") == kind]


def test_shares_run_from_0_to_100_percent() -> None:
    assert texts(drawn(points(0.2, 0.4)), "tick") == ["0\u00a0%", "50\u00a0%", "100\u00a0%"]


def test_counts_run_to_a_number_that_reads_well() -> None:
    assert texts(drawn(points(2.3, 0.1), is_share=False), "tick") == ["0", "2", "4"]


def test_higher_values_stand_higher() -> None:
    low, high = [float(circle.get("cy", "")) for circle in drawn(points(0.2, 0.9)).iter("circle")]
    assert low > high


def test_the_champion_alone_is_filled() -> None:
    kinds = [circle.get("class") for circle in drawn(points(0.2, 0.9), champion="v2-ab").iter("circle")]
    assert kinds == ["point", "point champion"]


def test_each_point_says_version_value_interval_and_count() -> None:
    chart = drawn([VersionPoint("v7-ab", 0.62, 0.5, 0.73, 81)])
    (title,) = chart.iter("title")
    assert title.text == "v7-ab: 62\u00a0% kept, 95 % interval 50\u00a0% to 73\u00a0%, of 81 corrections"


def test_the_whole_is_told_to_those_who_hear_it() -> None:
    assert drawn(points(0.2, 0.4)).get("aria-label") == "kept: v1-ab 20\u00a0%, v2-ab 40\u00a0%"


def test_of_forty_versions_a_few_are_named_the_newest_among_them() -> None:
    names = texts(drawn(points(*[0.5] * 40)), "name")
    assert (len(names), names[-1]) == (8, "v40")


def test_a_version_cannot_bring_markup_of_its_own() -> None:
    chart = version_chart([VersionPoint("<b>&", 0.5, 0.4, 0.6, 1)], title="kept", is_share=True, champion="")
    assert "<b>" not in chart


def test_nothing_to_show_draws_nothing() -> None:
    assert (version_chart([], title="kept", is_share=True, champion=""), sparkline([1.0], title="loss")) == ("", "")


def test_a_sparkline_spans_its_whole_height_and_bears_equal_values() -> None:
    assert 'points="0.0,2.0 120.0,26.0"' in sparkline([2.0, 1.0], title="loss")
    assert "nan" not in sparkline([1.0, 1.0], title="loss")


@pytest.mark.parametrize(
    ("losses", "ticks"),
    [
        ([2.52, 2.41], ["2.4", "2.45", "2.5", "2.55"]),
        ([4.0, 0.1], ["0", "1", "2", "3", "4"]),
        ([0.0131, 0.0124], ["0.0124", "0.0126", "0.0128", "0.013", "0.0132"]),
        ([2.0, 2.0], ["2", "2.001"]),
        ([0.0, 0.0], ["0", "5e-07"]),
    ],
)
def test_the_axis_of_a_loss_fits_its_values(losses: list[float], ticks: list[str]) -> None:
    chart = drawn_loss(list(enumerate(losses, start=1)))

    assert [text.text for text in chart.iter("text") if text.get("x") == "36"] == ticks
    (curve,) = chart.iter("polyline")
    heights = [float(point.partition(",")[2]) for point in curve.get("points", "").split()]
    assert all(14 <= height <= 172 for height in heights)


def drawn_loss(losses: list[tuple[int, float]]) -> Element:
    return fromstring(loss_chart(losses))
