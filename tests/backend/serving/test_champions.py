import os
import shutil
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from PIL import Image
from tests.support.damage import DAMAGES, Damage, damage
from tests.support.models import add_project, tiny_base
from tests.support.versions import add_copy

from captionloop.backend.serving.champions import Champions
from captionloop.errors import CheckpointError
from captionloop.model.captioning.captioner import Captioner
from captionloop.model.database import Database, Project
from captionloop.model.versions.base import Base
from captionloop.model.versions.manifest import verify_files
from captionloop.model.versions.store import VersionInfo, VersionStore

PICTURE = Image.new("RGB", (32, 32), "red")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def project(database: Database) -> Project:
    return add_project(database)


@pytest.fixture
def store(database: Database, tmp_path: Path, base: Base, project: Project) -> VersionStore:
    made = VersionStore(database, tmp_path / "versions")
    made.ensure_champion(project.id, base)
    return made


@pytest.fixture
def read() -> list[str]:
    """The versions whose files were read, in this order."""
    return []


def load(read: list[str], version: VersionInfo) -> Captioner:
    read.append(version.version)
    verify_files(version.path)
    return Captioner.load(version.path, version=version.version, generation=version.generation, precision="fp32")


@pytest.fixture
def champions(store: VersionStore, base: Base, read: list[str]) -> Champions:
    return Champions(store, base=base, load=partial(load, read))


def test_the_version_is_known_before_anything_is_loaded(champions: Champions, project: Project, base: Base) -> None:
    assert champions.version(project.id) == base.name


def test_a_project_that_nobody_asked_for_yet_is_answered_with_the_base(
    champions: Champions, base: Base, database: Database
) -> None:
    assert champions.version(add_project(database, 2).id) == base.name


def test_processes_with_other_settings_serve_what_the_project_started_from(
    store: VersionStore, project: Project, base: Base
) -> None:
    settings = [base, replace(base, generation=replace(base.generation, num_beams=2))]
    backends = [Champions(store, base=other, load=partial(load, [])) for other in settings]

    served = set()
    for champions in backends * 2:
        with champions.lease(project.id) as batcher:
            served.add(batcher.version)
        champions.refresh_all()

    assert served == {base.name}


def test_one_that_renews_bases_does_so_when_it_first_serves_a_project(
    store: VersionStore, project: Project, base: Base
) -> None:
    other = replace(base, generation=replace(base.generation, num_beams=2))
    champions = Champions(store, base=other, load=partial(load, []), renews_bases=True)
    with champions.lease(project.id) as batcher:
        first = batcher.version
    store.start_from(project.id, base)  # on purpose

    champions.refresh(project.id)

    assert (first, champions.version(project.id)) == (other.name, base.name)


def test_a_champion_serves(champions: Champions, project: Project, base: Base) -> None:
    with champions.lease(project.id) as batcher:
        (suggestion,) = batcher.submit(PICTURE, "").result()

    assert (batcher.version, 0 <= suggestion.score <= 1) == (base.name, True)


def test_projects_with_the_same_version_share_one_model(
    champions: Champions, store: VersionStore, project: Project, base: Base, database: Database
) -> None:
    other = add_project(database, 2)
    store.ensure_champion(other.id, base)

    with champions.lease(project.id) as first, champions.lease(other.id) as second:
        assert first is second


def test_a_promotion_is_taken_over_on_refresh(champions: Champions, store: VersionStore, project: Project) -> None:
    with champions.lease(project.id):
        pass
    name = add_copy(store, project, store.champion(project.id))
    store.promote(project.id, name, reason="better")

    champions.refresh(project.id)

    assert champions.version(project.id) == name


@pytest.mark.faults
def test_a_request_under_way_finishes_on_the_version_it_began_with(
    champions: Champions, store: VersionStore, project: Project, base: Base
) -> None:
    with champions.lease(project.id) as batcher:
        store.promote(project.id, add_copy(store, project, store.champion(project.id)), reason="better")
        champions.refresh(project.id)
        batcher.submit(PICTURE, "").result()

    assert batcher.version == base.name


@pytest.mark.faults
@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json", "captionloop.json"])
@pytest.mark.parametrize("how", DAMAGES)
def test_a_champion_with_a_damaged_file_leaves_the_old_one_serving_and_says_so(
    champions: Champions, store: VersionStore, project: Project, base: Base, file: str, how: Damage
) -> None:
    with champions.lease(project.id):
        pass
    name = add_copy(store, project, store.champion(project.id))
    store.promote(project.id, name, reason="better")
    damage(store.get(project.id, name).path / file, how)

    champions.refresh(project.id)

    assert champions.version(project.id) == base.name
    assert file in (champions.problem(project.id) or "")


def damaged_champion(champions: Champions, store: VersionStore, project: Project, how: Damage) -> tuple[Path, bytes]:
    """A new champion that cannot serve; its damaged file, and what belongs in there."""
    with champions.lease(project.id):
        pass
    name = add_copy(store, project, store.champion(project.id))
    store.promote(project.id, name, reason="better")
    file = store.get(project.id, name).path / "model.safetensors"
    content = file.read_bytes()
    damage(file, how)
    champions.refresh(project.id)
    return file, content


@pytest.mark.faults
@pytest.mark.parametrize("how", DAMAGES)
def test_a_champion_whose_damaged_file_is_put_back_serves_from_the_next_look_on(
    champions: Champions, store: VersionStore, project: Project, how: Damage
) -> None:
    file, content = damaged_champion(champions, store, project, how)
    file.write_bytes(content)

    champions.refresh(project.id)

    assert champions.version(project.id) == store.champion(project.id).version
    assert champions.problem(project.id) is None


@pytest.mark.faults
def test_a_damaged_champion_is_not_read_again_while_its_files_are_the_same(
    champions: Champions, store: VersionStore, project: Project, read: list[str]
) -> None:
    damaged_champion(champions, store, project, "bit flipped")
    read.clear()

    for _ in range(5):
        champions.refresh(project.id)

    assert read == []


@pytest.mark.faults
def test_a_champion_that_did_not_load_is_tried_again_after_minutes_although_its_files_are_the_same(
    champions: Champions, store: VersionStore, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, content = damaged_champion(champions, store, project, "bit flipped")
    before = file.stat()
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    champions.refresh(project.id)
    served = champions.version(project.id)
    monkeypatch.setattr("captionloop.backend.serving.champions._AGAIN_AFTER_S", 0)

    champions.refresh(project.id)

    assert served != champions.version(project.id) == store.champion(project.id).version


@pytest.mark.faults
@pytest.mark.parametrize("how", DAMAGES)
def test_a_model_that_serves_goes_on_when_its_files_are_damaged_under_it(
    champions: Champions, store: VersionStore, project: Project, how: Damage
) -> None:
    with champions.lease(project.id) as batcher:
        before = batcher.submit(PICTURE, "").result()
        damage(store.champion(project.id).path / "model.safetensors", how)
        assert batcher.submit(PICTURE, "").result() == before


@pytest.mark.faults
def test_a_base_whose_directory_was_lost_is_made_again(
    champions: Champions, store: VersionStore, project: Project, base: Base
) -> None:
    shutil.rmtree(store.champion(project.id).path)

    with champions.lease(project.id) as batcher:
        assert batcher.version == base.name


@pytest.mark.faults
def test_a_champion_that_never_loaded_is_an_error(champions: Champions, store: VersionStore, project: Project) -> None:
    (store.champion(project.id).path / "model.safetensors").write_bytes(b"damaged")

    with pytest.raises(CheckpointError, match="damaged"), champions.lease(project.id):
        pass


@pytest.mark.faults
def test_no_request_fails_while_champions_change(champions: Champions, store: VersionStore, project: Project) -> None:
    names = [add_copy(store, project, store.champion(project.id)) for _ in range(3)]
    errors: list[Exception] = []
    served: set[str] = set()
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                with champions.lease(project.id) as batcher:
                    batcher.submit(PICTURE, "").result()
                    served.add(batcher.version)
            except Exception as error:  # noqa: BLE001 (whatever it is, the test reports it)
                errors.append(error)

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    for name in names:
        store.promote(project.id, name, reason="next")
        champions.refresh(project.id)
    stop.set()
    for asker in askers:
        asker.join()

    assert errors == []
    assert champions.version(project.id) == names[-1]
