"""`captionloop style`, as it is called."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from tests.backend.commands.test_sweep import call, project, queue
from tests.support.corrections import correct

from captionloop.model.database import Correction, Database, Project

__all__ = ["call", "project", "queue"]

Call = Callable[..., tuple[int, str, str]]
MAY = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _services(queue: object) -> None:
    """The commands open the queue as well."""


def numbers(database: Database) -> list[int]:
    with database.reading() as session:
        return [row.id for row in session.query(Correction).order_by(Correction.id)]


def test_a_style_begins_and_is_listed(call: Call, database: Database, project: Project) -> None:
    correct(database, project, version="v1", at=MAY)
    code, out, err = call("style", "begin", "guide of May", "--since", "2026-05-04", "--language", "English")
    assert (code, err) == (0, "")
    assert out == "guide of May has begun, with one correction.\n"
    code, out, _ = call("style", "list")
    assert [line.split("  ")[0] for line in out.splitlines()] == ["style", "(without a name)", "guide of May"]
    assert "2026-05-04 00:00" in out
    found = json.loads(call("style", "list", "--json")[1])
    assert [(style["name"], style["corrections"], style["is_current"]) for style in found] == [
        (None, 0, False), ("guide of May", 1, True)
    ]  # fmt: skip


def test_a_style_begins_with_a_correction(call: Call, database: Database, project: Project) -> None:
    for hour in (10, 11, 12):
        correct(database, project, version="v1", at=MAY.replace(hour=hour))
    second = numbers(database)[1]
    code, out, _ = call("style", "begin", "British", "--from-correction", str(second), "--json")
    assert (code, json.loads(out)) == (0, {"style": "British", "corrections": 2})


def test_corrections_move_and_a_style_ends(call: Call, database: Database, project: Project) -> None:
    correct(database, project, version="v1", at=MAY)
    (number,) = numbers(database)
    call("style", "begin", "British")
    assert call("style", "move", str(number), "--to", "British")[1] == "Moved one correction to British.\n"
    assert call("style", "move", str(number))[1] == "Moved one correction to (without a name).\n"
    assert call("style", "end", "British")[1] == "British has ended. The current style is (without a name).\n"


def test_a_style_gets_another_name(call: Call, project: Project) -> None:
    call("style", "begin", "British")
    assert call("style", "rename", "British", "Irish")[:2] == (0, "British is called Irish now.\n")
    assert "Irish" in call("style", "list")[1]
    assert call("style", "rename", "British", "Irish")[0] == 4


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["begin", "British", "--since", "2999-01-01"], 2, "A style cannot begin on 2999-01-01"),
        (["begin", "British", "--since", "2026-01-01", "--from-correction", "1"], 2, "give one of them"),
        (["begin", " "], 2, "A style cannot be called ' '"),
        (["begin", "British", "--from-correction", "7"], 4, "There is no correction 7 in this project"),
        (["end", "British"], 4, "There is no style 'British' in this project"),
        (["move", "7"], 4, "There is no correction 7 in this project"),
    ],
)
@pytest.mark.usefixtures("project")
def test_what_cannot_be_done_says_why(call: Call, arguments: list[str], code: int, message: str) -> None:
    found, _, err = call("style", *arguments)
    assert (found, message in err) == (code, True), err


def test_what_changed_is_told_with_an_example_and_what_to_do(call: Call, database: Database, project: Project) -> None:
    assert call("style", "changes")[1] == "People write as before, as far as their latest corrections show.\n"
    for number in range(30):
        kept, other = f"a large red car {number}", f"a gigantic red car {number}"
        at = MAY.replace(minute=number)
        correct(database, project, version="v1", suggestion=kept, caption=kept if number < 20 else other, at=at)
    code, out, _ = call("style", "changes")
    assert code == 0
    first = numbers(database)[20]
    assert out.splitlines() == [
        "People write otherwise than before:",
        "- 'large' is written 'gigantic', 10 of 10 times, such as: a large red car 29 → a gigantic red car 29",
        f"To follow them: captionloop style begin NAME --from-correction {first}",
    ]
    assert json.loads(call("style", "changes", "--json")[1])[0]["first"]["number"] == first
