"""The rooms of the code (docs/design.md): what import-linter finds, and that no room is left out."""

import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parent.parent
_TOPS = ("backend", "jobs", "model")
_LARGEST_ROOM = 17
# The starter model's own tools, a module for each page, for each group of commands and for each change of the schema.
_MAY_BE_LARGER = {"backend/commands", "backend/pages", "model/migrations/versions", "model/starter"}


def _lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "src")},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The sources with real folders where `src/captionloop` has links."""
    shutil.copy(_ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(
        _ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "*.safetensors")
    )
    return tmp_path


@pytest.mark.parametrize(
    ("importing", "imported"),
    [
        pytest.param("model/metrics/scores.py", "captionloop.model.dataset.split", id="within the model"),
        pytest.param("model/captions/text.py", "captionloop.jobs.queue.runs", id="from the model to jobs"),
        pytest.param("jobs/queue/runs.py", "captionloop.jobs.project.sync", id="within jobs"),
        pytest.param("jobs/project/sync.py", "captionloop.backend.serving.champions", id="from jobs to the backend"),
        pytest.param("backend/serving/champions.py", "captionloop.backend.server.app", id="within the backend"),
        pytest.param("backend/pages/runs.py", "captionloop.jobs.learning.trial", id="from a page to a job"),
        pytest.param("backend/page_data/runs.py", "flask", id="from a page's data to Flask"),
        pytest.param("src/captionloop/home.py", "captionloop.model.database", id="from neutral ground to the model"),
        pytest.param("model/captions/text.py", "flask", id="from the model to a service"),
    ],
)
def test_an_import_against_the_directions_is_found(copy: Path, importing: str, imported: str) -> None:
    path = copy / "src" / "captionloop" / importing.removeprefix("src/captionloop/")
    lazily = f"\n\ndef _planted() -> None:\n    import {imported}\n"
    path.write_text(path.read_text(encoding="utf-8") + lazily, encoding="utf-8")

    checked = _lint_imports(copy)

    assert checked.returncode == 1, checked.stderr
    assert (
        f"captionloop.{importing.removeprefix('src/captionloop/').removesuffix('.py').replace('/', '.')}"
        in checked.stdout
    )


def test_every_room_has_its_place_in_the_directions() -> None:
    written = (_ROOT / "pyproject.toml").read_text(encoding="utf-8")
    rooms = {
        f"{top}.{path.stem}" for top in _TOPS for path in (_ROOT / top).iterdir() if not path.name.startswith("__")
    } | {path.stem for path in (_ROOT / "src" / "captionloop").glob("*.py") if path.stem != "__init__"}

    assert [room for room in sorted(rooms) if not any(mark in written for mark in _as_written(room))] == []


def _as_written(room: str) -> list[str]:
    return [f"{before}{room}{after}" for before in ('"', ": ", "| ") for after in ('"', " :", " |")]


def test_every_room_is_on_the_map_in_the_design_document() -> None:
    design = (_ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    rooms = {f"{path.parent.relative_to(_ROOT)}/" for top in _TOPS for path in (_ROOT / top).glob("*/*.py")}

    assert [room for room in sorted(rooms) if f"| `{room}` |" not in design] == []


_WALKS = re.findall(
    r"^### (From .*)\n((?:(?!^#).*\n)*)", (_ROOT / "docs" / "design.md").read_text(encoding="utf-8"), re.MULTILINE
)


@pytest.mark.parametrize("steps", [pytest.param(text, id=title) for title, text in _WALKS])
def test_no_walk_in_the_design_document_comes_back_to_a_room_that_it_has_left(steps: str) -> None:
    files = re.findall(r"`([\w/]+\.py)`", steps)
    rooms = [room for room, _ in itertools.groupby(str(Path(file).parent) for file in files)]

    assert len(files) > 7
    assert [file for file in files if not (_ROOT / file).is_file()] == []
    assert len(rooms) == len(set(rooms)), rooms


@pytest.mark.parametrize("steps", [pytest.param(text, id=title) for title, text in _WALKS])
def test_each_file_of_a_walk_knows_an_earlier_one_or_is_known_to_it(steps: str) -> None:
    """By an import of the one or the other, or by the context, which hands out the parts."""
    files = re.findall(r"`([\w/]+\.py)`", steps)

    alone = [
        file
        for place, file in enumerate(files[1:], start=1)
        if not any(_imports(before, file) or _imports(file, before) for before in ["jobs/context.py", *files[:place]])
    ]
    assert alone == []


def _imports(importing: str, imported: str) -> bool:
    folder, module = f"captionloop.{imported.removesuffix('.py').replace('/', '.')}".rsplit(".", 1)
    text = (_ROOT / importing).read_text(encoding="utf-8")
    return bool(re.search(rf"from {folder}\.{module} import|from {folder} import .*\b{module}\b", text))


def test_the_design_document_has_three_walks() -> None:
    assert len(_WALKS) == 3


def test_no_room_is_crowded() -> None:
    crowded = {
        str(folder.relative_to(_ROOT)): count
        for top in _TOPS
        for folder in [_ROOT / top, *(_ROOT / top).rglob("*/")]
        if (count := sum(path.stem != "__init__" for path in folder.glob("*.py"))) > _LARGEST_ROOM
    }
    assert crowded.keys() <= _MAY_BE_LARGER, crowded


def test_every_room_says_what_it_is() -> None:
    inits = [path for top in _TOPS for path in (_ROOT / top).rglob("__init__.py")]

    assert len(inits) > 30
    assert [str(path) for path in inits if not path.read_text(encoding="utf-8").startswith('"""')] == []


def test_the_top_folders_are_the_package() -> None:
    """`src/captionloop` links to them; a checkout without links (some Windows settings) would be an empty package."""
    for folder in _TOPS:
        assert (_ROOT / "src" / "captionloop" / folder).resolve() == _ROOT / folder


def test_the_backend_answers_before_anything_heavy_is_imported() -> None:
    """`/health` is up within a second; models load beside it."""
    program = (
        "import sys, pkgutil, importlib, captionloop.backend.server.serve, captionloop.backend.pages as pages, "
        "captionloop.backend.api as api\n"
        "for package in (pages, api):\n"
        "    for module in pkgutil.iter_modules(package.__path__, package.__name__ + '.'):\n"
        "        importlib.import_module(module.name)\n"
        "print(*sorted({'torch', 'transformers', 'sklearn', 'matplotlib', 'optuna'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.split() == []
