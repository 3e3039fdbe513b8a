"""Which text box of a project is for captions.

A project stores the name of its box (the control), so that added boxes, another order or other attributes change
nothing. When the name is no longer in the label config:

1. If nothing was learnt from it yet, a box is chosen by its name, as at first.
2. If one of its earlier names is back, or exactly one new name has appeared, that is a rename. It is followed, and a
   person is asked to confirm; until then, the old name is used again as soon as it is back.
3. Else the choice is left to a person. Until then nothing is suggested and nothing new is read.

No correction is emptied: captions read from a box that is gone remain (`jobs.project.sync`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from captionloop.backend.label_studio.label_config import CaptionTarget, LabelConfig, parse_label_config
from captionloop.errors import LabelConfigError, SettingsError
from captionloop.model.active_learning.project_settings import settings_of
from captionloop.model.database import Project
from captionloop.model.dataset.corrections import has_learnt


@dataclass(frozen=True)
class Control:
    """A project's stored text box for captions.

    Attributes:
        name: the TextArea's name; None: no label config was read yet.
        earlier: its earlier names, the latest first.
        renamed_from: its name before an unconfirmed rename.
        rejected: boxes that a person has replaced by another one.
    """

    name: str | None = None
    earlier: tuple[str, ...] = ()
    renamed_from: str | None = None
    rejected: frozenset[str] = frozenset()

    @classmethod
    def of(cls, project: Project) -> "Control":
        kept = project.control_history
        earlier, rejected = tuple(kept.get("earlier", ())), frozenset(kept.get("rejected", ()))
        return cls(project.control, earlier, kept.get("renamed_from"), rejected)

    def keep(self, project: Project) -> None:
        """Store it in a project's row."""
        project.control = self.name
        project.control_history = {
            "earlier": list(self.earlier),
            "renamed_from": self.renamed_from,
            "rejected": sorted(self.rejected),
        }

    def after(self, now: LabelConfig, *, before: LabelConfig | None, has_learnt: Callable[[], bool]) -> "Control":
        """The control after a change of the label config.

        Args:
            before: the previous label config; None if it was unknown or had no box.
            has_learnt: whether the project has captions from its box.
        """
        found = self._found_in(now, before, has_learnt)
        # A name that another tag has now is no longer one of the box.
        return replace(found, earlier=tuple(name for name in found.earlier if name not in now.tags))

    def _found_in(self, now: LabelConfig, before: LabelConfig | None, has_learnt: Callable[[], bool]) -> "Control":
        if self.renamed_from is not None and self.renamed_from in now.names:
            return self._called(self.renamed_from, renamed_from=None)
        if self.name in now.names:
            return self
        if self.name is None or not has_learnt():
            return Control(now.likeliest.from_name)
        possible = [name for name in now.names if name not in self.rejected]
        known = [name for name in self.earlier if name in possible]
        new = [name for name in possible if before is not None and name not in before.names]
        is_rename = len(new) == 1 and self.name not in now.tags  # else it is there still, only no box for captions
        if not known and not is_rename:
            return self
        return self._called((known or new)[0], renamed_from=self.renamed_from or self.name)

    def chosen(self, name: str, now: LabelConfig) -> "Control":
        """The control after a person's choice.

        Raises:
            SettingsError: the label config has no such box for captions.
        """
        if name not in now.names:
            raise SettingsError(f"control is {name!r}; the label config's text boxes for captions are {_listed(now)}.")
        if name == self.name or self.name not in now.names:
            return self._called(name, renamed_from=None)
        # What came in the place of a box that is gone was no rename, or all names were those of the wrong box.
        wrong = {self.name} if self.renamed_from is not None else {self.name, *self.earlier}
        chosen = replace(self, rejected=self.rejected | wrong)
        return chosen._called(name, renamed_from=None)

    def _called(self, name: str, *, renamed_from: str | None) -> "Control":
        """The same box by another name, or by the same one."""
        names = dict.fromkeys(found for found in (self.name, *self.earlier) if found is not None)
        earlier = tuple(found for found in names if found != name and found not in self.rejected)
        return Control(name, earlier, renamed_from, self.rejected - {name})

    def names_to_read(self, now: LabelConfig) -> tuple[str, ...]:
        """The names under which annotations have captions, the present one first."""
        is_another_tag = self.name in now.tags and self.name not in now.names
        return self.earlier if self.name is None or is_another_tag else (self.name, *self.earlier)


@dataclass(frozen=True)
class ControlQuestion:
    """A question to a person, since the stored box is gone from the label config.

    Attributes:
        gone: its name.
        why: what has become of it.
        used: the box that is used instead; None: none.
        names: the boxes to choose from.
    """

    gone: str
    why: str
    used: str | None
    names: Sequence[str]

    @property
    def found(self) -> str:
        """What has happened, and what is done meanwhile."""
        if self.used is not None:
            return (
                f"The text box {self.gone!r}, which captions went into, {self.why}. {self.used!r} came in its place "
                "and is used instead."
            )
        return (
            f"The text box {self.gone!r}, which captions went into, {self.why}. Until that is settled nothing is "
            "suggested, and what people write elsewhere is not read. All earlier captions stay."
        )

    @property
    def others(self) -> Sequence[str]:
        """The boxes that could be chosen instead."""
        return [name for name in self.names if name != self.used]

    @property
    def remedy(self) -> str:
        if not self.names:
            return f'Put it back: <TextArea name="{self.gone}" toName="…"/>, with the name of its Image.'
        if self.used is None:
            named = " or ".join(self.names)
            return f"Choose one: `captionloop project set control=NAME` ({named}), or Settings. Or put it back."
        return f"If that is right, confirm it: `captionloop project set control={self.used}`. Else choose another one."

    def __str__(self) -> str:
        return f"{self.found} {self.remedy}"


def take_label_config(session: Session, project: Project, xml: str) -> None:
    """Store a label config in a project's row, and update its control."""
    now, before = _parsed(xml), _parsed(project.label_config)
    project.label_config = xml
    if now is not None:
        control = Control.of(project).after(now, before=before, has_learnt=lambda: has_learnt(session, project.id))
        control.keep(project)


def boxes_of(project: Project) -> Sequence[str]:
    """The names of the usable text boxes in the stored label config."""
    now = _parsed(project.label_config)
    return () if now is None else now.names


def question_of(project: Project) -> ControlQuestion | None:
    """The open question about a project's box; None: none."""
    control, now = Control.of(project), _parsed(project.label_config)
    if control.name is None:
        return None
    if now is None:
        return ControlQuestion(control.name, "is gone from the label config, as is every other one", None, ())
    if control.name not in now.names:
        return ControlQuestion(control.name, _fate(control.name, now), None, now.names)
    if control.renamed_from is not None:
        return ControlQuestion(control.renamed_from, _fate(control.renamed_from, now), control.name, now.names)
    return None


def target_of(project: Project) -> CaptionTarget:
    """The target of suggestions.

    Raises:
        LabelConfigError: the label config has no text box for captions, or a person must choose one first.
    """
    now = parse_label_config(project.label_config)
    control = Control.of(project)
    box = now.box(control.name) if control.name is not None else now.likeliest
    if box is None:
        raise LabelConfigError(str(question_of(project)))
    return _with_earlier_names(box, control.names_to_read(now))


def other_targets(project: Project) -> list[CaptionTarget]:
    """The other text boxes that captions are suggested in as well: those that describe the same picture.

    Raises:
        LabelConfigError: as `target_of`.
    """
    main, wanted = target_of(project), settings_of(project).other_boxes
    if not wanted:
        return []
    found = [box for name in wanted if (box := parse_label_config(project.label_config).box(name)) is not None]
    return [box for box in found if box.from_name != main.from_name and box.image_field == main.image_field]


def reading_target(project: Project) -> CaptionTarget:
    """The target for reading annotations: also while the box is gone, since earlier annotations count.

    Raises:
        LabelConfigError: the label config has no text box for captions.
    """
    now = parse_label_config(project.label_config)
    control = Control.of(project)
    names = control.names_to_read(now)
    box = now.box(control.name or "")
    if box is None:  # of a box that is gone only the names are known, and the pictures are those of the others
        box = replace(now.boxes[0], from_name=next(iter(names), ""), max_submissions=None, per_item=False)
    return _with_earlier_names(box, names)


def _with_earlier_names(box: CaptionTarget, names: Sequence[str]) -> CaptionTarget:
    return replace(box, earlier_names=tuple(name for name in names if name != box.from_name))


def _fate(name: str, now: LabelConfig) -> str:
    """Why a former box can no longer be used."""
    tag = now.tags.get(name)
    if tag is None:
        return "is gone from the label config"
    if tag.lower() != "textarea":
        return f"is a {tag} now"
    return "no longer describes a whole picture"


def _parsed(xml: str) -> LabelConfig | None:
    try:
        return parse_label_config(xml)
    except LabelConfigError:
        return None


def _listed(config: LabelConfig) -> str:
    return ", ".join(config.names)
