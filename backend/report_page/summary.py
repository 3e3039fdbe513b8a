"""The report as text, for a terminal."""

from captionloop.backend.report_page.figures import figure_rows
from captionloop.backend.terminal.table import table
from captionloop.model.evaluation.comparison_file import ComparedImage, EvaluatedCaption
from captionloop.model.metrics.scores import counting_notes
from captionloop.model.metrics.word_changes import nearest_reference, word_changes
from captionloop.model.versions.report import Report
from captionloop.printable import one_line

_HASH_DIGITS = 12


def report_text(report: Report) -> str:
    """A readable summary. Removed words are in [-…-], inserted ones in {+…+}."""
    parts = [_head(report), _figures(report), _facts(report), *_examples(report)]
    return "\n\n".join("\n".join(map(one_line, lines)) for lines in parts if lines)


def _head(report: Report) -> list[str]:
    version = report.version
    made = version.created_at.astimezone().strftime("%Y-%m-%d %H:%M")
    origin = f", from {version.parent}" if version.parent else ", a base that projects start from"
    return [f"{version.version} ({version.state}), made {made}{origin}", version.reason]


def _figures(report: Report) -> list[str]:
    if report.comparison is None:
        return ["No comparison with a champion was kept with this version."] if report.version.parent else []
    titles = ("", report.comparison.champion, report.version.version, "difference", "95 % interval", "p", "")
    rows = [
        (row.title, row.first, row.second, row.difference, row.interval, row.p_value, row.verdict)
        for row in figure_rows(report.comparison.figures)
    ]
    notes = counting_notes(text for image in report.comparison.images for text in image.references)
    style = report.comparison.in_style
    judged = [f"Both wrote, and were judged, {style}."] if style else []
    return [*judged, *table(titles, rows, figures=True).splitlines(), *notes]


def _facts(report: Report) -> list[str]:
    lines = []
    if report.version.parent:
        lines.append(f"Trained on  {report.version.corrections} corrections")
    if snapshot := report.manifest.get("snapshot"):
        facts = report.dataset
        size = (
            f": {facts.captions} captions of {facts.images} images, {facts.held_out_images} held out" if facts else ""
        )
        lines.append(f"Dataset     {snapshot[:_HASH_DIGITS]}{size}")
        if facts and facts.scripts:
            lines.append(f"Written in  {facts.in_scripts}")
    if new_tokens := report.manifest.get("new_tokens"):
        lines.append(f"Vocabulary  {new_tokens} new words and parts of words")
    if losses := report.log.get("loss"):
        lines.append(f"Loss        {losses[0]:.3f} at first, {losses[-1]:.3f} after {len(losses)} steps")
    if report.evaluations:
        steps = ", ".join(str(point.step) for point in report.evaluations)
        lines.append(f"Evaluated   at step {steps}")
    if report.chances:
        lines.append(f"Scores      {report.chances.note}")
    settings = ", ".join(f"{name} {value}" for name, value in dict(report.manifest.get("settings") or {}).items())
    return lines + ([f"Settings    {settings}"] if settings else [])


def _examples(report: Report) -> list[list[str]]:
    if report.comparison is None:
        return []
    champion, candidate = report.comparison.champion, report.version.version
    width = max(len(champion), len(candidate), len("person"))
    return [
        [f"{group.title}:", *(line for image in group.images for line in _example(image, champion, candidate, width))]
        for group in report.examples
    ]


def _example(image: ComparedImage, champion: str, candidate: str, width: int) -> list[str]:
    people = [f"    {'person'.ljust(width)}  {reference}" for reference in image.references]
    return [
        f"  image {image.image[:_HASH_DIGITS]}",
        *people,
        f"    {champion.ljust(width)}  {_marked(image.champion, image)}",
        f"    {candidate.ljust(width)}  {_marked(image.candidate, image)}",
    ]


def _marked(written: EvaluatedCaption, image: ComparedImage) -> str:
    marks = {"kept": "{}", "removed": "[-{}-]", "added": "{{+{}+}}"}
    changes = word_changes(written.caption, nearest_reference(written.caption, image.references))
    return "".join(" " * change.space_before + marks[change.kind].format(change.text) for change in changes).strip()
