"""The stored text box of a project, under changes of its label config."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as some
from tests.support.corrections import correct
from tests.support.label_configs import IMAGE
from tests.support.label_configs import label_config as config
from tests.support.models import add_project

from captionloop.backend.label_studio.controls import Control, question_of, reading_target, take_label_config, target_of
from captionloop.backend.label_studio.label_config import LabelConfig, parse_label_config
from captionloop.errors import LabelConfigError, SettingsError
from captionloop.model.database import Database, Project


def after(control: Control, *configs: Sequence[str], has_learnt: bool = True) -> Control:
    """What is remembered after one label config and the next, each of these tags."""
    before: LabelConfig | None = None
    for tags in configs:
        now = parse_label_config(config(*tags))
        control, before = control.after(now, before=before, has_learnt=lambda: has_learnt), now
    return control


CHOICES = '<Choices name="caption" toName="image"><Choice value="a"/></Choices>'
FOR_REGIONS = '<TextArea name="caption" toName="image" perRegion="true"/>'


class TestTheFirstTime:
    @pytest.mark.parametrize(
        ("names", "chosen"),
        [
            (["title", "caption"], "caption"),
            (["remarks", "image_description"], "image_description"),
            (["title", "ALT-text"], "ALT-text"),
            (["altText", "shortDescription", "imgcaption"], "imgcaption"),
            (["title", "text"], "title"),
            (["default", "salt", "captioner"], "default"),
        ],
    )
    def test_a_name_that_says_caption_description_or_alt_wins_else_the_first(
        self, names: list[str], chosen: str
    ) -> None:
        assert after(Control(), names).name == chosen

    def test_as_long_as_nothing_was_learnt_the_choice_follows_the_label_config(self) -> None:
        assert after(Control(), ["title"], ["heading", "caption"], has_learnt=False) == Control("caption")


class TestWhileItIsThere:
    @pytest.mark.parametrize(
        "later",
        [
            pytest.param(["remarks", "title"], id="another text box before it"),
            pytest.param(["title", "caption"], id="a text box whose name says more"),
            pytest.param(["title", CHOICES], id="another control"),
        ],
    )
    def test_a_text_box_that_is_still_there_is_kept(self, later: list[str]) -> None:
        assert after(Control(), ["title"], later) == Control("title")

    def test_a_text_box_that_a_person_chose_is_kept_as_well(self) -> None:
        now = parse_label_config(config("title", "caption"))
        chosen = after(Control(), ["title", "caption"]).chosen("title", now)
        assert after(chosen, ["caption", "title"]).name == "title"


class TestARename:
    renamed = after(Control(), ["caption", "remarks"], ["description", "remarks"])

    def test_a_new_name_in_the_place_of_the_old_one_is_followed(self) -> None:
        assert self.renamed == Control("description", ("caption",), renamed_from="caption")

    def test_a_person_confirms_a_rename(self) -> None:
        now = parse_label_config(config("description", "remarks"))
        assert self.renamed.chosen("description", now) == Control("description", ("caption",))

    def test_a_person_says_that_it_was_no_rename(self) -> None:
        now = parse_label_config(config("description", "remarks"))
        chosen = self.renamed.chosen("remarks", now)
        assert chosen == Control("remarks", ("caption",), rejected=frozenset({"description"}))

    def test_a_rename_that_is_taken_back_needs_no_person(self) -> None:
        assert after(self.renamed, ["caption", "remarks"]) == Control("caption", ("description",))

    def test_the_old_name_counts_again_also_beside_the_new_one(self) -> None:
        assert after(self.renamed, ["description", "caption"]) == Control("caption")

    def test_renames_in_a_row_lead_back_to_the_first_name(self) -> None:
        twice = after(self.renamed, ["description"], ["text"])
        assert twice == Control("text", ("description", "caption"), renamed_from="caption")
        assert after(twice, ["description"]).renamed_from == "caption"
        assert after(twice, ["caption"]).name == "caption"

    def test_an_earlier_name_that_is_another_box_now_is_none_any_more(self) -> None:
        confirmed = self.renamed.chosen("description", parse_label_config(config("description", "remarks")))
        assert after(confirmed, ["description", "caption"], ["description"]) == Control("description")


class TestWhenNobodyCanTell:
    @pytest.mark.parametrize(
        "later",
        [
            pytest.param(["remarks"], id="only another earlier text box is left"),
            pytest.param(["title", "text"], id="two new text boxes"),
            pytest.param([FOR_REGIONS, "remarks"], id="a text box for regions now"),
            pytest.param([CHOICES, "remarks"], id="a control of another type now"),
        ],
    )
    def test_no_other_text_box_takes_the_place_of_one_that_is_gone(self, later: list[str]) -> None:
        gone = after(Control(), ["caption", "remarks"], later)
        assert gone == Control("caption")
        assert after(gone, ["caption", "remarks"]) == Control("caption")

    def test_a_person_chooses_what_goes_on_where_it_left_off(self) -> None:
        now = parse_label_config(config("title", "text"))
        assert Control("caption").chosen("text", now) == Control("text", ("caption",))

    def test_a_box_that_is_not_there_cannot_be_chosen(self) -> None:
        with pytest.raises(SettingsError, match=r"control is 'subject'; .* are title, text"):
            Control("caption").chosen("subject", parse_label_config(config("title", "text")))


def test_another_box_chosen_beside_the_present_one_rejects_all_its_names() -> None:
    now = parse_label_config(config("caption", "title"))
    chosen = Control("title", ("heading",)).chosen("caption", now)
    assert chosen == Control("caption", rejected=frozenset({"title", "heading"}))
    assert chosen.chosen("title", now).name == "title"
    assert "title" not in chosen.chosen("title", now).rejected


NAMES = some.sampled_from(["caption", "description", "remarks", "title", CHOICES, FOR_REGIONS])
CONFIGS = some.lists(some.lists(NAMES, min_size=1, max_size=4, unique=True), max_size=10)


@given(CONFIGS)
def test_whatever_happens_between_the_label_config_of_before_brings_the_box_of_before_back(
    between: list[list[str]],
) -> None:
    usable = [tags for tags in between if any(not tag.startswith("<") for tag in tags)]

    control = after(Control(), ["remarks", "caption"], *usable, ["remarks", "caption"])

    assert (control.name, control.renamed_from, control.rejected) == ("caption", None, frozenset())


class TestWhatIsSaidOfIt:
    def test_a_text_box_that_is_there_raises_no_question(self) -> None:
        row = Project(control="caption", label_config=config("title", "caption"), control_history={})
        assert (question_of(row), target_of(row).from_name) == (None, "caption")

    @pytest.mark.parametrize(
        ("tags", "why"),
        [
            (["title", "text"], "'caption', which captions went into, is gone from the label config"),
            ([CHOICES, "text"], "'caption', which captions went into, is a Choices now"),
            ([FOR_REGIONS, "text"], "'caption', which captions went into, no longer describes a whole picture"),
        ],
    )
    def test_a_text_box_that_is_gone_raises_a_question_with_its_reason(self, tags: list[str], why: str) -> None:
        row = Project(control="caption", label_config=config(*tags), control_history={})
        question = question_of(row)
        assert question is not None
        assert why in str(question)
        assert "captionloop project set control=NAME" in str(question)
        with pytest.raises(LabelConfigError, match="nothing is suggested"):
            target_of(row)
        assert reading_target(row).from_name in {"caption", ""}

    def test_a_rename_is_said_with_the_way_to_confirm_it(self) -> None:
        row = Project(control="text", label_config=config("text"), control_history={"renamed_from": "caption"})
        question = question_of(row)
        assert question is not None
        assert "'text' came in its place and is used instead" in str(question)
        assert "captionloop project set control=text" in str(question)
        assert target_of(row).from_name == "text"

    def test_without_any_box_it_is_to_be_put_back(self) -> None:
        row = Project(control="caption", label_config=f"<View>{IMAGE}</View>", control_history={})
        assert "Put it back" in str(question_of(row))


@pytest.fixture
def project(database: Database) -> Project:
    """One whose captions are in the box `caption`."""
    made = add_project(database)
    with database.session() as session:
        row = session.get_one(Project, made.id)
        take_label_config(session, row, config("caption"))
    return row


@pytest.mark.parametrize(("corrections", "control"), [(0, "title"), (1, "caption")])
def test_a_box_that_something_was_learnt_from_is_not_given_up(
    database: Database, project: Project, corrections: int, control: str
) -> None:
    for _ in range(corrections):
        correct(database, project, version="v1", caption="a cat")

    with database.session() as session:
        row = session.get_one(Project, project.id)
        take_label_config(session, row, config("title", "text"))

    assert row.control == control
    assert row.label_config == config("title", "text")


def test_a_label_config_that_cannot_be_read_changes_nothing_that_is_remembered(
    database: Database, project: Project
) -> None:
    with database.session() as session:
        row = session.get_one(Project, project.id)
        take_label_config(session, row, "<View>")

    assert (row.control, row.label_config) == ("caption", "<View>")
