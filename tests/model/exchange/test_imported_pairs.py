"""What an import leaves in the database: each caption beside the picture that its row names, or not there at all."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings
from sqlalchemy import select
from tests.model.exchange.reading.test_pictures import (
    FORMS,
    WRITTEN,
    is_meant,
    links,
    make,
    rows,
    some_directories,
    trees,
    usable_files,
    write,
)
from tests.support.models import add_project

from captionloop.home import Home
from captionloop.image_limits import ImageLimits
from captionloop.model.database import Correction, Database
from captionloop.model.dataset.images import content_hash
from captionloop.model.exchange.importing import ImportResult, Source, find_source, import_dataset


@settings(max_examples=60, deadline=None)
@given(form=FORMS, images=some_directories, files=trees, linked=links, wanted=rows)
def test_an_imported_caption_is_of_the_picture_that_its_row_names(
    migrated: Path,
    form: str,
    images: str | None,
    files: list[str],
    linked: list[tuple[str, str]],
    wanted: list[tuple[str, str]],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory).resolve() / "root"
        below = root / (images or "")
        below.mkdir(parents=True)
        make(root, files, linked)
        names = [WRITTEN[how](path, root) for path, how in wanted]

        source = find_source(write(root, form, names), images=None if images is None else below)
        pairs, result = imported(source, Path(directory) / "home", migrated)

        usable = usable_files(below)
        assert (len(pairs), len(names)) == (result.new, result.new + result.known + result.bad)
        for picture, caption in pairs:
            name = names[int(caption.removeprefix("row "))]
            found = [path for path in usable if content_hash((below / path).read_bytes()) == picture]
            assert any(
                is_meant(name, path, usable, names, below, exactly=form.startswith("metadata")) for path in found
            ), (name, found)


def imported(source: Source, place: Path, empty: Path) -> tuple[Sequence[tuple[str, str]], ImportResult]:
    """The hash of each picture that an import into an empty database keeps, with its caption."""
    home = Home(place)
    home.create()
    shutil.copy(empty, home.database)
    database = Database(f"sqlite:///{home.database}")
    try:
        result = import_dataset(
            source,
            add_project(database).id,
            database=database,
            home=home,
            limits=ImageLimits(),
            on_bad=lambda row: None,
            on_progress=lambda share: None,
        )
        with database.reading() as session:
            corrections = list(session.scalars(select(Correction)))
        pairs = [(str(row.image_sha256), caption) for row in corrections for caption in row.captions]
        assert all(content_hash(home.image(picture).read_bytes()) == picture for picture, _ in pairs)
        return pairs, result
    finally:
        database.close()
