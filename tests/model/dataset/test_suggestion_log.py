"""The log of suggestions holds whatever number of answers a request has."""

from tests.support.models import add_project

from captionloop.model.database import Database
from captionloop.model.database import Suggestion as Row
from captionloop.model.dataset.suggestion_log import Answer, SuggestionLog

MANY = 10_000  # more than PostgreSQL takes in one statement


def test_answers_of_a_large_batch_are_kept(either_database: Database) -> None:
    project = add_project(either_database)
    log = SuggestionLog(either_database)
    answers = [Answer(number, None, "no picture") for number in range(MANY)]

    log.keep(project.id, "v1", [*answers, answers[0]])

    with either_database.reading() as session:
        assert session.query(Row).count() == MANY
