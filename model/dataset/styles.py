"""A project's styles: manners of writing, each from a moment on, and the corrections that belong to it.

A correction belongs to the style that was current when it was made, until somebody moves it. Those of before the first
style, and all corrections of a project without styles, belong to the one without a name. Nothing is deleted: a style
that was ended keeps its corrections, which go on teaching what pictures show.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from captionloop.batches import batches
from captionloop.errors import NotFoundError, SettingsError
from captionloop.model.database import LARGEST_ID, BoxCaption, Correction, Database, Project, Style, utc_now

LONGEST_NAME = 60  # characters
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_AT_ONCE = 500  # corrections in one statement, of which SQLite limits the parameters
_DIGITS = 8  # of what tells a name from others
_NAMED = 10  # unknown corrections that a message names at most


@dataclass(frozen=True)
class StyleInfo:
    """A style of a project.

    Args:
        id: 0 is the style without a name.
        name: None for that one, which every project begins with.
        since: None for that one.
        ended_at: when somebody ended it; corrections from then on belong to an earlier style.
        control: the other text box that its captions go into; None: that for captions.
        language: as somebody named it.
        corrections: how many belong to it, in any state.
        is_current: whether new captions of its box belong to it, and a new version writes it there.
    """

    id: int
    name: str | None
    since: datetime | None
    ended_at: datetime | None
    control: str | None
    language: str | None
    corrections: int
    is_current: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain data; moments in ISO 8601."""
        values = asdict(self)
        return values | {name: at.isoformat() for name in ("since", "ended_at") if (at := values[name]) is not None}


def styles_of(session: Session, project_id: int) -> list[StyleInfo]:
    """The styles of a project, the one without a name first, then in the order in which they begin."""
    counts = dict(
        session.execute(
            select(Correction.style_id, func.count())
            .where(Correction.project_id == project_id)
            .group_by(Correction.style_id)
        ).all()
    )
    latest_first = _latest_first(session, project_id)
    of_boxes = dict(
        session.execute(
            select(BoxCaption.style_id, func.count())
            .join(Correction, Correction.id == BoxCaption.correction_id)
            .where(Correction.project_id == project_id)
            .group_by(BoxCaption.style_id)
        ).all()
    )
    current = _at(_of_captions(latest_first), utc_now())
    unnamed = StyleInfo(0, None, None, None, None, None, counts.get(None, 0), is_current=current is None)
    return [unnamed] + [
        StyleInfo(
            style.id,
            style.name,
            style.since,
            style.ended_at,
            style.control,
            style.language,
            counts.get(style.id, 0) + of_boxes.get(style.id, 0),
            is_current=style is current or style.control is not None,
        )
        for style in reversed(latest_first)
    ]


@dataclass(frozen=True)
class ProjectStyles:
    """The styles of a project at one moment, by name; None is the one without a name.

    Args:
        current: new corrections belong to it, and a new version writes it.
        open: those that nobody has ended: a new version is not to forget them.
        of_boxes: other text box → its style.
    """

    current: str | None = None
    open: Sequence[str | None] = (None,)
    of_boxes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, session: Session, project_id: int) -> ProjectStyles:
        latest_first = _latest_first(session, project_id)
        named = [style.name for style in reversed(latest_first) if style.ended_at is None]
        of_boxes = {style.control: style.name for style in latest_first if style.control is not None}
        return cls(_name(_at(_of_captions(latest_first), utc_now())), (None, *named), of_boxes)


def project_styles(database: Database, project_id: int) -> ProjectStyles:
    """The styles of a project now."""
    with database.reading() as session:
        return ProjectStyles.of(session, project_id)


def _names_for(box: str) -> Iterator[str]:
    """Possible names for the style of a box, which are without end."""
    name = box.strip()[:LONGEST_NAME].strip()
    yield name
    yield from (f"{name[: LONGEST_NAME - _DIGITS]} ({number})" for number in count(2))


def current_style(database: Database, project_id: int) -> str | None:
    """The name of a project's current style."""
    return project_styles(database, project_id).current


def style_id_at(session: Session, project_id: int, moment: datetime) -> int | None:
    """The id of the style that a correction made at this moment belongs to; None is the one without a name."""
    style = _at(_of_captions(_latest_first(session, project_id)), moment)
    return style.id if style else None


def style_of_box(session: Session, project_id: int, box: str) -> int:
    """The id of the style of another text box, which begins with the box's first use and has its name."""
    styles = _latest_first(session, project_id)
    if (known := next((style for style in styles if style.control == box), None)) is not None:
        return known.id
    taken = {style.name for style in styles}
    name = next(name for name in _names_for(box) if name not in taken)
    style = Style(project_id=project_id, name=name, control=box, since=utc_now())
    session.add(style)
    session.flush()
    return style.id


def current_style_id(session: Session, project_id: int) -> int | None:
    """The id of the style that is current: what people change is judged by its corrections."""
    return style_id_at(session, project_id, utc_now())


def moment_of(session: Session, project_id: int, correction: int) -> datetime:
    """When a correction was made.

    Raises:
        NotFoundError: the project has no such correction.
    """
    chosen = select(Correction.annotated_at).where(Correction.project_id == project_id, Correction.id == correction)
    moment = session.scalar(chosen) if 0 < correction <= LARGEST_ID else None
    if moment is None:
        raise NotFoundError(f"There is no correction {correction} in this project.")
    return moment


def begin_style(
    session: Session,
    project_id: int,
    name: str,
    *,
    since: datetime | None = None,
    language: str | None = None,
) -> int:
    """Begin a style; the corrections made from its beginning on belong to it.

    Args:
        since: when it began; None is now.

    Returns:
        How many corrections moved to it.

    Raises:
        SettingsError: the name cannot be used or is taken, or the moment lies in the future or before 1970.
    """
    _lock(session, project_id)
    now = utc_now()
    since = since or now
    _check_name(session, project_id, name)
    if not _EARLIEST <= since <= now:
        raise SettingsError(
            f"A style cannot begin on {since:%Y-%m-%d %H:%M}; expected a moment from {_EARLIEST:%Y} to now."
        )
    style = Style(project_id=project_id, name=name, since=since, language=language)
    session.add(style)
    session.flush()
    later = [Correction.project_id == project_id, Correction.annotated_at >= since]
    # Those of a style that began later still are not of this one.
    following = [each.since for each in _of_captions(_latest_first(session, project_id)) if each.since > since]
    if following:
        later.append(Correction.annotated_at < min(following))
    return _moved(session, later, style.id)


def end_style(session: Session, project_id: int, name: str) -> str | None:
    """End a style: captions are suggested in the one before it again, and new corrections belong to that.

    Returns:
        The style that is current now; None is the one without a name.

    Raises:
        NotFoundError: the project has no such style.
        SettingsError: it has ended already, or is that of another text box.
    """
    _lock(session, project_id)
    style = _named(session, project_id, name)
    if style.control is not None:
        raise SettingsError(f"The style {name!r} is that of the text box {style.control!r}, and lasts as long as that.")
    if style.ended_at is not None:
        raise SettingsError(f"The style {name!r} ended on {style.ended_at:%Y-%m-%d %H:%M} UTC.")
    style.ended_at = utc_now()
    session.flush()
    return _name(_at(_of_captions(_latest_first(session, project_id)), utc_now()))


def rename_style(session: Session, project_id: int, name: str, *, to: str) -> None:
    """Give a style another name. Versions go by names, so none may have been taught the style.

    Raises:
        NotFoundError: the project has no such style.
        SettingsError: the new name cannot be used or is taken.
    """
    _lock(session, project_id)
    style = _named(session, project_id, name)
    if to != name:
        _check_name(session, project_id, to)
    style.name = to


def move_corrections(session: Session, project_id: int, corrections: Collection[int], *, to: str | None) -> int:
    """Have corrections belong to another style; returns how many did not before.

    Args:
        corrections: their numbers.
        to: the name of the style; None is the one without a name.

    Raises:
        NotFoundError: the project has no such style, or no such correction; nothing is moved then.
        SettingsError: the style is that of another text box.
    """
    _lock(session, project_id)
    style = _named(session, project_id, to) if to is not None else None
    if style is not None and style.control is not None:
        raise SettingsError(
            f"The style {to!r} is that of the text box {style.control!r}, which has captions of its own."
        )
    style_id = style.id if style is not None else None
    possible = sorted(number for number in set(corrections) if 0 < number <= LARGEST_ID)
    chosen = [[Correction.project_id == project_id, Correction.id.in_(some)] for some in batches(possible, _AT_ONCE)]
    known = {number for some in chosen for number in session.scalars(select(Correction.id).where(*some))}
    if unknown := sorted(set(corrections) - known):
        raise NotFoundError(f"There is no correction {', '.join(map(str, unknown[:_NAMED]))} in this project.")
    return sum(_moved(session, some, style_id) for some in chosen)


def _moved(session: Session, which: Sequence[Any], style_id: int | None) -> int:
    elsewhere = Correction.style_id.is_distinct_from(style_id)
    chosen = list(session.scalars(select(Correction.id).where(*which, elsewhere)))
    session.execute(update(Correction).where(*which, elsewhere).values(style_id=style_id))
    return len(chosen)


def _latest_first(session: Session, project_id: int) -> list[Style]:
    chosen = select(Style).where(Style.project_id == project_id).order_by(Style.since.desc(), Style.id.desc())
    return list(session.scalars(chosen))


def _of_captions(styles: Sequence[Style]) -> list[Style]:
    """Those of the text box for captions."""
    return [style for style in styles if style.control is None]


def _at(latest_first: Sequence[Style], moment: datetime) -> Style | None:
    """The style that was current at a moment."""
    return next(
        (
            style
            for style in latest_first
            if style.since <= moment and (style.ended_at is None or moment < style.ended_at)
        ),
        None,
    )


def _name(style: Style | None) -> str | None:
    return style.name if style else None


def _named(session: Session, project_id: int, name: str) -> Style:
    style = session.scalar(select(Style).where(Style.project_id == project_id, Style.name == name))
    if style is None:
        known = [repr(style.name) for style in reversed(_latest_first(session, project_id))]
        raise NotFoundError(
            f"There is no style {name!r} in this project. It has: {', '.join(known) or 'none with a name'}."
        )
    return style


def _check_name(session: Session, project_id: int, name: str) -> None:
    if not name or name != name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
        raise SettingsError(
            f"A style cannot be called {name!r:.100}; expected 1 to {LONGEST_NAME} printable characters, without a "
            "space at either end."
        )
    if session.scalar(select(Style.id).where(Style.project_id == project_id, Style.name == name)) is not None:
        raise SettingsError(f"This project has a style {name!r} already; choose another name.")


def _lock(session: Session, project_id: int) -> None:
    """Block syncs of the project, which decide the styles of new corrections, until this transaction ends."""
    session.execute(select(Project.id).where(Project.id == project_id).with_for_update())
