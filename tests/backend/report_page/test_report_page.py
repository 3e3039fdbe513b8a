import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.versions import FinishedRun, copied, finished_home, finished_run

from captionloop.backend.report_page import kept, kept_report, report_html, report_text
from captionloop.backend.report_page.figures import figure_rows
from captionloop.home import Home
from captionloop.model.database import Database
from captionloop.model.evaluation.calibration import Judged, calibrate
from captionloop.model.metrics import Difference
from captionloop.model.versions.report import read_report

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture(scope="module")
def original(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[FinishedRun, Home]:
    """A run whose version says "thing" of what people call "nothing else"."""
    directory = tmp_path_factory.mktemp("original")
    return finished_home(directory, migrated, candidate=lambda caption: caption.replace("nothing else", "thing"))


@pytest.fixture
def run(original: tuple[FinishedRun, Home], database: Database, home: Home) -> FinishedRun:
    """The same in a home of the test's own."""
    return copied(*original, home, database)


@pytest.fixture(scope="module")
def html(original: tuple[FinishedRun, Home]) -> str:
    run, home = original
    return report_html(read_report(run.version, home))


def test_a_report_is_drawn_once(run: FinishedRun, home: Home, html: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kept_report(run.version, home)
    monkeypatch.setattr(kept, "report_html", None)  # who drew it again would fail

    assert kept_report(run.version, home).decode() == html


def test_a_report_is_drawn_anew_when_its_version_has_another_state(run: FinishedRun, home: Home) -> None:
    kept_report(run.version, home)

    drawn = kept_report(replace(run.version, state="archived"), home).decode()

    assert "archived" in drawn
    assert len(list(home.reports.iterdir())) == 1


def test_a_report_is_drawn_anew_when_people_have_judged_more_suggestions(run: FinishedRun, home: Home) -> None:
    kept_report(run.version, home, chances=calibrate(sure_of_itself(10)))

    drawn = kept_report(run.version, home, chances=calibrate(sure_of_itself(11))).decode()

    assert "11 suggestions were judged" in drawn


class _Elements(HTMLParser):
    """Every element with its attributes, and whether all that was opened was closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_needs_no_other_file(html: str) -> None:
    elements = _Elements(html).found
    addresses = [
        value for _, attributes in elements for name, value in attributes.items()
        if name in ("src", "href", "xlink:href", "action", "data") and value
    ]  # fmt: skip
    assert [address for address in addresses if not address.startswith(("data:image/jpeg;base64,", "#"))] == []
    assert {"script", "link", "iframe"} & {tag for tag, _ in elements} == set()
    assert re.findall(r"@import|url\((?!#)", html) == []


def test_captions_of_people_and_models_are_escaped(html: str) -> None:
    assert "&lt;b&gt;" in html
    assert "&lt;i&gt;step 40&lt;/i&gt;" in html
    assert {"b", "i"} & {tag for tag, _ in _Elements(html).found} == set()


def test_the_gates_sentence_and_every_figure_with_its_interval_are_there(
    run: FinishedRun, html: str, home: Home
) -> None:
    text = re.sub(r"\s+", " ", html)
    assert re.sub(r"\s+", " ", run.version.reason.replace("&", "&amp;").replace("'", "&#39;")) in text
    comparison = read_report(run.version, home).comparison
    assert comparison is not None
    for row in figure_rows(comparison.figures):
        assert re.sub(r"\s+", " ", f">{row.verdict}</span></th><td>{row.first}</td><td>{row.second}</td>") in text
        assert re.sub(r"\s+", " ", f">{row.interval}<") in text


def test_every_held_out_image_is_shown_with_what_would_change(run: FinishedRun, html: str) -> None:
    assert html.count('<article title="') == len(run.held_out)
    assert html.count("data:image/jpeg;base64,") == 2 * len(run.held_out)  # and once more as a sample of the training
    assert html.count('<del dir="auto">thing</del>') >= len(run.held_out)
    assert html.count("<ins>nothing else</ins>") == len(run.held_out)


def test_the_curves_follow_light_and_dark(html: str) -> None:
    assert re.findall(r'aria-label="([^"]+)"', html) == [
        "Training loss", "Learning rate", "Validation: CIDEr-D + BLEU-4", "Validation: CIDEr-D", "Validation: BLEU-4",
    ]  # fmt: skip
    drawings = "".join(re.findall(r"<svg role.*?</svg>", html, re.DOTALL))
    assert re.findall(r"(?:stroke|fill): #\w+", drawings) == []
    assert "stroke: var(--model)" in drawings


def test_an_older_version_says_what_is_not_known(database: Database, home: Home, tmp_path: Path) -> None:
    run = finished_run(database, home, tmp_path, logs=False)
    html = report_html(read_report(run.version, home))
    assert "No comparison was kept with this version." in html
    assert "No log was kept with this version." in html


def test_a_base_has_a_page(run: FinishedRun, home: Home) -> None:
    html = report_html(read_report(run.store.get(run.project.id, run.base.name), home))
    assert "a base that projects start from" in html
    assert "It was not trained here." in html


def test_a_picture_that_is_gone_is_said_to_be(run: FinishedRun, home: Home) -> None:
    gone = next(iter(run.held_out))
    home.image(gone).unlink()
    assert report_html(read_report(run.version, home)).count("This picture is no longer there.") == 2


def test_the_text_has_the_sentence_the_figures_and_the_examples(run: FinishedRun, home: Home) -> None:
    text = report_text(read_report(run.version, home))
    assert run.version.reason in text
    assert re.search(r"Words to change +\d+\.\d\s% +\d+\.\d\s% +[+−]\d", text)
    assert "Loss        4.000 at first, 0.100 after 40 steps" in text
    assert "Settings    learning_rate 0.001, steps 40" in text
    assert text.count("[-thing-] {+nothing else+}") == len(run.held_out)


def test_the_scripts_of_the_captions_and_the_number_of_new_words_are_said(
    run: FinishedRun, html: str, home: Home
) -> None:
    assert "<dt>written in</dt><dd>Latin 12</dd>" in html
    assert "<dt>new in the vocabulary</dt><dd>7 words and parts of words</dd>" in html
    text = report_text(read_report(run.version, home))
    assert "Written in  Latin 12\nVocabulary  7 new words and parts of words\n" in text


def test_the_text_of_an_older_version_says_what_is_not_known(database: Database, home: Home, tmp_path: Path) -> None:
    run = finished_run(database, home, tmp_path, logs=False)
    assert "No comparison with a champion was kept" in report_text(read_report(run.version, home))


@pytest.mark.parametrize(
    ("name", "difference", "interval", "p_value", "verdict"),
    [
        ("cider_d", 1.0, (0.5, 1.5), 0.001, "better"),
        ("cider_d", -1.0, (-1.5, -0.5), 0.001, "worse"),
        ("word_edit_rate", -0.2, (-0.3, -0.1), 0.001, "better"),
        ("word_edit_rate", 0.2, (0.1, 0.3), 0.001, "worse"),
        ("cider_d", 0.2, (-0.1, 0.6), 0.1, "probably better (19 in 20)"),
        ("word_edit_rate", 0.2, (-0.1, 0.6), 0.1, "probably worse (19 in 20)"),
        ("cider_d", 0.2, (-0.3, 0.6), 0.6, "too close to call"),
        ("exact_match", 0.0, (0.0, 0.0), 1.0, "the same"),
    ],
)
def test_a_difference_is_named(name: str, difference: float, interval, p_value: float, verdict: str) -> None:  # type: ignore[no-untyped-def]
    (row,) = figure_rows({name: Difference(0.5, 0.5 + difference, difference, interval, p_value)})
    assert row.verdict == verdict
    assert -1 <= row.low <= row.middle <= row.high <= 1


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
def test_the_page_fits_the_screen_and_asks_for_nothing(
    html: str, tmp_path: Path, page: "Page", scheme: str, width: int
) -> None:
    requests: list[str] = []
    problems: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: problems.append(message.text))
    path = tmp_path / "report.html"
    path.write_text(html, encoding="utf-8")

    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(path.as_uri())

    assert [url for url in requests if not url.startswith("data:")] == [path.as_uri()]
    assert problems == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ink, ground = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    assert (ink, ground) == {
        "light": ("rgb(29, 28, 26)", "rgb(251, 250, 248)"), "dark": ("rgb(236, 233, 226)", "rgb(22, 21, 19)")
    }[scheme]  # fmt: skip


def test_on_a_phone_the_verdict_stands_below_each_figures_name(
    run: FinishedRun, home: Home, html: str, tmp_path: Path, page: "Page"
) -> None:
    path = tmp_path / "report.html"
    path.write_text(html, encoding="utf-8")
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(path.as_uri())

    comparison = read_report(run.version, home).comparison
    assert comparison is not None
    heads = page.locator("tbody").first.locator("th")
    assert heads.all_inner_texts() == [f"{row.title}\n{row.verdict}" for row in figure_rows(comparison.figures)]


# -- what the scores are worth -----------------------------------------------------------------------------------


def sure_of_itself(count: int) -> list[Judged]:
    """Scores around 0.9, of which every other caption was left unchanged, the higher ones rather."""
    return [Judged(0.85 + 0.1 * number / count, number % 4 > 1 or number > 3 * count / 4) for number in range(count)]


def test_the_page_shows_how_reliable_the_scores_are(run: FinishedRun, home: Home) -> None:
    html = report_html(read_report(run.version, home, chances=calibrate(sure_of_itself(120))))

    assert "What its scores are worth" in html
    assert "Calibrated on 120 judged suggestions; expected calibration error 0." in html
    labels = [attributes.get("aria-label") for tag, attributes in _Elements(html).found if tag == "svg"]
    assert "The score against what people left unchanged" in labels
    assert "The calibrated chance against what people left unchanged" in labels


def test_too_few_corrections_to_calibrate_are_said_to_be(run: FinishedRun, home: Home) -> None:
    few = calibrate(sure_of_itself(10))

    report = read_report(run.version, home, chances=few)

    assert "Too few corrections to calibrate: 10 suggestions were judged" in report_html(report)
    assert f"Scores      {few.note}" in report_text(report)


def test_a_report_without_the_database_says_nothing_of_scores(html: str) -> None:
    assert "What its scores are worth" not in html
