import errno
import fcntl
import hashlib
import json
import multiprocessing
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import pytest
from tests.support.damage import DAMAGES, Damage, damage
from tests.support.models import add_project, tiny_base
from transformers import BlipForConditionalGeneration, BlipProcessor

from captionloop.errors import BusyError, CheckpointError, NotFoundError, StorageError
from captionloop.model.blip import checkpoint
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.database import Database, Project, Version, VersionState
from captionloop.model.versions import store as store_module
from captionloop.model.versions.base import Base, name_and_generation
from captionloop.model.versions.manifest import MANIFEST, Lineage, read_manifest, sha256, verify_files
from captionloop.model.versions.store import VersionStore


@pytest.fixture
def project(database: Database) -> Project:
    return add_project(database)


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return tiny_base(tmp_path / "base")


@pytest.fixture
def store(database: Database, tmp_path: Path, base: Base, project: Project) -> VersionStore:
    made = VersionStore(database, tmp_path / "versions")
    made.ensure_champion(project.id, base)
    return made


def add_version(store: VersionStore, project: Project, parent: str) -> str:
    def write(directory: Path) -> None:
        (directory / "model.safetensors").write_bytes(b"weights")

    lineage = Lineage(
        parent=parent, snapshot="abc", corrections=3, settings={}, metrics={"cider_d": 1.0}, reason="",
        state=VersionState.CANDIDATE,
    )  # fmt: skip
    return store.create(project.id, write, lineage=lineage, generation=GenerationSettings())


def test_a_project_starts_from_the_base(store: VersionStore, project: Project, base: Base) -> None:
    assert store.champion(project.id).version == base.name


def test_the_base_is_kept_in_the_ordinary_layout(store: VersionStore, project: Project) -> None:
    path = store.champion(project.id).path

    assert (path / "model.safetensors").is_file()
    BlipForConditionalGeneration.from_pretrained(path)
    BlipProcessor.from_pretrained(path)


def test_the_name_of_a_base_changes_with_its_files(base: Base, tmp_path: Path) -> None:
    changed = tiny_base(tmp_path / "other")
    (tmp_path / "other" / "vocab_note.txt").write_text("another file")

    assert changed.name != base.name


def test_the_name_of_a_base_changes_with_how_it_writes(base: Base) -> None:
    assert Base(base.source, GenerationSettings(num_beams=5)).name != base.name


def test_a_version_has_a_manifest_with_the_checksum_of_each_file(
    store: VersionStore, project: Project, base: Base
) -> None:
    name = add_version(store, project, base.name)

    manifest = read_manifest(store.get(project.id, name).path)

    assert (manifest["version"], manifest["parent"], manifest["snapshot"]) == (name, base.name, "abc")
    assert set(manifest["files"]) == {"model.safetensors", "README.md"}


def test_an_untouched_version_is_verified(store: VersionStore, project: Project) -> None:
    verify_files(store.champion(project.id).path)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: (path / "model.safetensors").write_bytes(b"x"), "model.safetensors .* is damaged"),
        (lambda path: (path / "model.safetensors").unlink(), "has lost its file model.safetensors"),
        (lambda path: (path / MANIFEST).unlink(), "has no readable captionloop.json"),
        (lambda path: (path / MANIFEST).write_text("{"), "has no readable captionloop.json"),
    ],
)
@pytest.mark.faults
def test_a_damaged_version_is_found_out(store: VersionStore, project: Project, base: Base, damage, said: str) -> None:  # type: ignore[no-untyped-def]
    path = store.get(project.id, add_version(store, project, base.name)).path
    damage(path)

    with pytest.raises(CheckpointError, match=said):
        verify_files(path)


@pytest.mark.faults
def test_a_failure_while_writing_leaves_nothing(store: VersionStore, project: Project, tmp_path: Path) -> None:
    def write(directory: Path) -> None:
        (directory / "model.safetensors").write_bytes(b"half")
        raise OSError("disk full")

    before = sorted(path.name for path in (tmp_path / "versions").iterdir())
    lineage = Lineage(
        parent="", snapshot="", corrections=0, settings={}, metrics={}, reason="", state=VersionState.CANDIDATE
    )

    with pytest.raises(StorageError, match="disk full"):
        store.create(project.id, write, lineage=lineage, generation=GenerationSettings())

    assert sorted(path.name for path in (tmp_path / "versions").iterdir()) == before


@pytest.mark.faults
def test_a_directory_that_no_row_names_is_swept(store: VersionStore, tmp_path: Path) -> None:
    orphan = tmp_path / "versions" / "v9-ffffff"
    orphan.mkdir()

    assert store.remove_leftovers() == [orphan]


class TestWhatIsBeingWritten:
    """What another process writes is spared, however long it takes; what a kill left is removed at once."""

    @pytest.fixture
    def sweeper(self, database: Database, tmp_path: Path) -> VersionStore:
        """As a worker that starts elsewhere has it."""
        return VersionStore(database, tmp_path / "versions")

    @pytest.mark.faults
    def test_a_base_that_is_copied_slowly_is_whole_however_many_workers_start(
        self, sweeper: VersionStore, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        base, moments = tiny_base(tmp_path / "base"), 20
        half, goes_on = threading.Semaphore(0), threading.Semaphore(0)
        copied = checkpoint.save_checkpoint

        def slowly(loaded: checkpoint.Checkpoint, directory: Path) -> None:
            copied(loaded, directory)
            for _ in range(moments):
                half.release()
                goes_on.acquire()

        monkeypatch.setattr(checkpoint, "save_checkpoint", slowly)
        with ThreadPoolExecutor(1) as backend:
            copy = backend.submit(VersionStore(database, tmp_path / "versions").add_base, base)
            swept = []
            for _ in range(moments):
                half.acquire()
                swept += sweeper.remove_leftovers()
                goes_on.release()
            copy.result()

        assert swept == []
        sweeper.remove_leftovers()
        verify_files(tmp_path / "versions" / base.name)

    @pytest.mark.faults
    def test_a_version_is_spared_between_its_rename_and_its_row(
        self, store: VersionStore, sweeper: VersionStore, project: Project, base: Base
    ) -> None:
        lineage = Lineage(
            parent=base.name, snapshot="abc", corrections=3, settings={}, metrics={}, reason="",
            state=VersionState.CANDIDATE,
        )  # fmt: skip
        swept: list[Path] = []

        def sweeps(_: object) -> None:  # what is called once the directory has its name
            swept.extend(sweeper.remove_leftovers())

        with mock.patch.object(store_module, "flush_to_disk", sweeps):
            store.create(project.id, lambda directory: None, lineage=lineage, generation=GenerationSettings())

        assert swept == []

    @pytest.mark.faults
    def test_what_a_killed_process_left_is_removed_at_once(
        self, sweeper: VersionStore, database: Database, tmp_path: Path
    ) -> None:
        base, started = tiny_base(tmp_path / "base"), tmp_path / "started"
        writer = multiprocessing.get_context("fork").Process(
            target=_copies_for_ever, args=(database.url, base, started)
        )
        writer.start()
        while not started.exists():
            assert writer.is_alive()
            time.sleep(0.01)
        assert sweeper.remove_leftovers() == []

        writer.kill()
        writer.join()

        (left,) = sweeper.remove_leftovers()
        assert left.name.startswith(".unfinished-")

    @pytest.mark.faults
    def test_where_files_cannot_be_locked_it_is_spared_for_an_hour(
        self, sweeper: VersionStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old, new = tmp_path / "versions" / ".unfinished-old", tmp_path / "versions" / ".unfinished-new"
        for path in (old, new):
            path.mkdir(parents=True)
        os.utime(old, (0, 0))
        monkeypatch.setattr(fcntl, "flock", mock.Mock(side_effect=OSError(errno.ENOLCK, "No locks available")))

        assert sweeper.remove_leftovers() == [old]


def _copies_for_ever(url: str, base: Base, started: Path) -> None:
    def stands_still(_: object, directory: Path) -> None:
        (directory / "half").write_bytes(b"")
        started.touch()
        time.sleep(600)

    with mock.patch.object(checkpoint, "save_checkpoint", stands_still):
        VersionStore(Database(url), started.parent / "versions").add_base(base)


def test_sweeping_spares_what_is_known(store: VersionStore, project: Project, base: Base) -> None:
    name = add_version(store, project, base.name)

    store.remove_leftovers()

    assert store.get(project.id, name).path.is_dir()


def test_promotion_makes_one_champion_and_retires_the_other(store: VersionStore, project: Project, base: Base) -> None:
    name = add_version(store, project, base.name)

    store.promote(project.id, name, reason="better")

    assert {info.version: info.state for info in store.all_of(project.id)} == {base.name: "retired", name: "champion"}


@pytest.mark.faults
def test_a_candidate_is_not_promoted_over_a_champion_it_was_not_compared_with(
    store: VersionStore, project: Project, base: Base
) -> None:
    first, second = (add_version(store, project, base.name) for _ in range(2))
    store.promote(project.id, first, reason="by hand")

    assert not store.promote(project.id, second, reason="better", expected=base.name)
    assert store.champion(project.id).version == first


@pytest.mark.faults
@pytest.mark.parametrize("how", DAMAGES)
def test_a_version_with_a_damaged_file_is_not_promoted(
    store: VersionStore, project: Project, base: Base, how: Damage
) -> None:
    name = add_version(store, project, base.name)
    damage(store.get(project.id, name).path / "model.safetensors", how)

    with pytest.raises(CheckpointError, match=r"model\.safetensors.*Let another version serve"):
        store.promote(project.id, name, reason="better")

    assert store.champion(project.id).version == base.name


@pytest.mark.faults
def test_a_rollback_to_a_damaged_version_is_refused_with_what_to_do(
    store: VersionStore, project: Project, base: Base
) -> None:
    name = add_version(store, project, base.name)
    store.promote(project.id, name, reason="better")
    damage(store.get(project.id, base.name).path / "model.safetensors", "bit flipped")

    with pytest.raises(CheckpointError, match=r"It is a base: move .* away, and it is made again from"):
        store.rollback(project.id)

    assert store.champion(project.id).version == name


def test_rolling_back_leads_to_the_champion_before(store: VersionStore, project: Project, base: Base) -> None:
    store.promote(project.id, add_version(store, project, base.name), reason="better")

    assert store.rollback(project.id) == base.name
    assert store.champion(project.id).version == base.name


def test_rolling_back_twice_leads_two_steps_back(store: VersionStore, project: Project, base: Base) -> None:
    first, second = (add_version(store, project, base.name) for _ in range(2))
    store.promote(project.id, first, reason="better")
    store.promote(project.id, second, reason="better still")

    assert [store.rollback(project.id), store.rollback(project.id)] == [first, base.name]


def test_the_base_has_no_rollback_target(store: VersionStore, project: Project) -> None:
    with pytest.raises(NotFoundError, match="no earlier version"):
        store.rollback(project.id)


class TestWhatAProjectStartsFrom:
    """It is in the database: processes with other settings do not change it, unless one is told to."""

    def others(self, base: Base, tmp_path: Path) -> dict[str, Base]:
        """What processes with other settings would let a new project start from."""
        shutil.copytree(base.source, tmp_path / "elsewhere")
        shutil.copytree(base.source, tmp_path / "another")
        (tmp_path / "another" / "note.txt").write_text("another file")
        return {
            "beams": Base(base.source, GenerationSettings(num_beams=2)),
            "prompt": Base(base.source, GenerationSettings(prompt="a picture of")),
            "model": Base(str(tmp_path / "another"), base.generation),
            "path": Base(str(tmp_path / "elsewhere"), base.generation),
            "model that is not there": Base(str(tmp_path / "nowhere"), base.generation),
        }

    def test_stays_whatever_the_settings_of_a_process(
        self, store: VersionStore, project: Project, base: Base, tmp_path: Path
    ) -> None:
        others = self.others(base, tmp_path)

        assert {name: store.ensure_champion(project.id, other) for name, other in others.items()} == dict.fromkeys(
            others, base.name
        )

    def test_changes_on_purpose(self, store: VersionStore, project: Project, base: Base, tmp_path: Path) -> None:
        others = self.others(base, tmp_path)
        for wanted in (others["beams"], others["prompt"], others["model"]):
            assert (store.start_from(project.id, wanted), store.champion(project.id).version) == (True, wanted.name)

    def test_is_the_same_model_wherever_that_lies(
        self, store: VersionStore, project: Project, base: Base, tmp_path: Path
    ) -> None:
        moved = self.others(base, tmp_path)["path"]

        assert (store.start_from(project.id, moved), store.champion(project.id).version) == (False, base.name)

    def test_is_the_same_model_under_its_name_of_an_earlier_release(
        self, store: VersionStore, project: Project, base: Base, database: Database
    ) -> None:
        files = sorted(path for path in Path(base.source).iterdir() if path.is_file())
        digest = hashlib.sha256("".join(f"{path.name}:{sha256(path)}" for path in files).encode()).hexdigest()
        facts = json.dumps([f"{base.source}@{digest[:16]}", base.generation.to_dict()], sort_keys=True)
        name = f"base-{hashlib.sha256(facts.encode()).hexdigest()[:8]}"
        with database.session() as session:
            session.add(Version(name=name, generation=base.generation.to_dict()))
            session.get_one(Project, project.id).champion = name

        assert (store.start_from(project.id, base), store.champion(project.id).version) == (False, name)

    def test_no_longer_matters_once_a_project_has_learnt(
        self, store: VersionStore, project: Project, base: Base
    ) -> None:
        name = add_version(store, project, base.name)
        store.promote(project.id, name, reason="better")

        assert store.start_from(project.id, Base(base.source, GenerationSettings(num_beams=2))) is False
        assert store.champion(project.id).version == name

    def test_is_copied_again_if_its_directory_is_lost(self, store: VersionStore, project: Project, base: Base) -> None:
        shutil.rmtree(store.champion(project.id).path)

        store.ensure_champion(project.id, base)

        verify_files(store.champion(project.id).path)


def test_an_unknown_version_is_named_with_those_that_exist(store: VersionStore, project: Project, base: Base) -> None:
    with pytest.raises(NotFoundError, match=f"'v99'.*{base.name}"):
        store.promote(project.id, "v99", reason="")


def test_projects_do_not_see_each_others_versions(
    store: VersionStore, project: Project, base: Base, database: Database
) -> None:
    add_version(store, project, base.name)
    other = add_project(database, 2)
    store.ensure_champion(other.id, base)

    assert [info.version for info in store.all_of(other.id)] == [base.name]


def test_what_is_shown_of_a_version_has_the_promised_keys(store: VersionStore, project: Project) -> None:
    shown = store.champion(project.id).to_dict()

    assert {"version", "parent", "state", "created_at", "corrections", "metrics", "path"} <= set(shown)
    json.dumps(shown)


def test_a_versions_directory_says_its_own_name_and_settings(store: VersionStore, project: Project, base: Base) -> None:
    version = store.get(project.id, add_version(store, project, base.name))

    assert name_and_generation(Base(str(version.path), GenerationSettings(num_beams=7))) == (
        version.version,
        GenerationSettings(),
    )


def test_any_other_directory_is_a_base_with_the_settings_given(base: Base) -> None:
    assert name_and_generation(base) == (base.name, base.generation)


def test_a_damaged_manifest_is_named(base: Base) -> None:
    (Path(base.source) / MANIFEST).write_text("{")

    with pytest.raises(CheckpointError, match=f"{MANIFEST} is damaged"):
        name_and_generation(base)


# Keeping and deleting ------------------------------------------------------------------------------------------------


@pytest.fixture
def rejected(store: VersionStore, project: Project, base: Base) -> str:
    """A version that never served."""
    return add_version(store, project, base.name)


def names(store: VersionStore, project: Project, *, with_deleted: bool = False) -> list[str]:
    return [info.version for info in store.all_of(project.id, with_deleted=with_deleted)]


def test_deleting_removes_the_files_and_keeps_the_row(store: VersionStore, project: Project, rejected: str) -> None:
    path = store.get(project.id, rejected).path

    store.delete(project.id, rejected)

    kept = store.get(project.id, rejected, with_deleted=True)
    assert (path.exists(), kept.deleted_at is not None, kept.metrics) == (False, True, {"cider_d": 1.0})


def test_a_deleted_version_is_no_longer_among_those_that_can_serve(
    store: VersionStore, project: Project, base: Base, rejected: str
) -> None:
    store.delete(project.id, rejected)

    assert names(store, project) == [base.name]
    assert names(store, project, with_deleted=True) == [base.name, rejected]


@pytest.mark.parametrize(
    "act",
    [
        lambda store, project, name: store.promote(project.id, name, reason="after all"),
        lambda store, project, name: store.pin(project.id, name, pinned=True),
        lambda store, project, name: store.delete(project.id, name),
        lambda store, project, name: store.get(project.id, name),
    ],
)
def test_what_needs_the_files_of_a_deleted_version_says_that_it_was_deleted(  # type: ignore[no-untyped-def]
    store: VersionStore, project: Project, rejected: str, act
) -> None:
    store.delete(project.id, rejected)

    with pytest.raises(NotFoundError, match=f"Version {rejected} was deleted on 20"):
        act(store, project, rejected)


def test_the_champion_is_never_deleted(store: VersionStore, project: Project, rejected: str) -> None:
    store.promote(project.id, rejected, reason="by hand")

    with pytest.raises(BusyError, match="is the champion"):
        store.delete(project.id, rejected)
    assert store.get(project.id, rejected).path.is_dir()


def test_a_base_is_neither_deleted_nor_pinned(store: VersionStore, project: Project, base: Base, rejected: str) -> None:
    store.promote(project.id, rejected, reason="by hand")

    with pytest.raises(BusyError, match="is a base"):
        store.delete(project.id, base.name, even_rollback_target=True)
    with pytest.raises(BusyError, match="is a base"):
        store.pin(project.id, base.name, pinned=True)


def test_a_pinned_version_is_deleted_only_after_it_is_unpinned(
    store: VersionStore, project: Project, rejected: str
) -> None:
    store.pin(project.id, rejected, pinned=True)
    with pytest.raises(BusyError, match="is pinned"):
        store.delete(project.id, rejected)

    store.pin(project.id, rejected, pinned=False)
    store.delete(project.id, rejected)

    assert not store.get(project.id, rejected, with_deleted=True).path.exists()


def test_what_a_rollback_leads_to_is_deleted_only_by_somebody_who_knows(
    store: VersionStore, project: Project, base: Base
) -> None:
    first, second = (add_version(store, project, base.name) for _ in range(2))
    store.promote(project.id, first, reason="better")
    store.promote(project.id, second, reason="better still")

    with pytest.raises(BusyError, match=f"A rollback from {second} leads to {first}"):
        store.delete(project.id, first)
    store.delete(project.id, first, even_rollback_target=True)

    assert (store.rollback_target(project.id), store.rollback(project.id)) == (base.name, base.name)


def test_a_rollback_finds_its_way_where_the_path_back_goes_in_a_circle(
    store: VersionStore, project: Project, base: Base
) -> None:
    first, second = (add_version(store, project, base.name) for _ in range(2))
    for name in (first, second, first):
        store.promote(project.id, name, reason="by hand")

    store.delete(project.id, second, even_rollback_target=True)

    assert store.rollback(project.id) == base.name


@pytest.mark.faults
def test_files_that_a_crash_left_after_a_deletion_are_swept(
    store: VersionStore, project: Project, rejected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store.get(project.id, rejected).path

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("captionloop.model.versions.store.shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            store.delete(project.id, rejected)
    assert (names(store, project).count(rejected), path.is_dir()) == (0, True)  # the row already says so

    assert store.remove_leftovers() == [path]


def test_a_version_made_from_a_deleted_one_is_still_made_from_its_base(
    store: VersionStore, project: Project, rejected: str
) -> None:
    store.delete(project.id, rejected)

    child = add_version(store, project, rejected)

    assert store.get(project.id, child).parent == rejected


def test_the_number_in_a_name_is_not_given_again_after_a_deletion(
    store: VersionStore, project: Project, base: Base, rejected: str
) -> None:
    store.delete(project.id, rejected)

    assert add_version(store, project, base.name).startswith("v2-")
