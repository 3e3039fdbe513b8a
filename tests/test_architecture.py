"""Who may import whom (docs/design.md). Read from the source, so that a lazy import inside a function counts too."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parent.parent
_PACKAGE = "captionloop."

_SHARED = {"batches", "errors", "home", "hosts", "logs", "memory", "seal", "setting_fields", "settings"}
# What jobs need to read Label Studio: its client, images, label configs and the JSON of annotations.
_JOBS_FROM_BACKEND = {"label_studio"}
# Modules that put the parts together, and so have to know them.
_ASSEMBLERS = {
    "backend/health/doctor.py",
    "backend/label_studio_ml_adapter.py",
    "backend/local/scripted_annotator.py",
    "backend/local/up.py",
    "backend/pages/room.py",
    "backend/server/serve.py",
}

_FOR_ASSEMBLERS = {"context", "project"}


def _imports(path: Path) -> Iterator[str]:
    """What a file imports of ours, as `model.versions`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            # `from captionloop.jobs.queue.redis_queue import redis_queue as queue` imports a module, too.
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module else []
        yield from (name.removeprefix(_PACKAGE) for name in names if name.startswith(_PACKAGE))


def _files(folder: str) -> list[Path]:
    return sorted((_ROOT / folder).rglob("*.py"))


def _may_import(path: str, name: str) -> bool:
    folder, part = [*name.split("."), ""][:2]
    if path.startswith("model/"):
        return folder in {"model", "batches", "errors", "home", "memory", "setting_fields"}
    if path.startswith("jobs/"):
        return folder in {"jobs", "model"} | _SHARED or (folder == "backend" and part in _JOBS_FROM_BACKEND)
    if folder != "jobs" or path == "backend/cli.py" or path.startswith("backend/commands/"):
        return True
    return part == "queue" or (path in _ASSEMBLERS and part in _FOR_ASSEMBLERS)


@pytest.mark.parametrize("folder", ["model", "jobs", "backend"])
def test_each_folder_imports_only_what_it_may(folder: str) -> None:
    files = _files(folder)
    assert files
    wrong = [
        f"{path.relative_to(_ROOT)} imports captionloop.{name}"
        for path in files
        for name in _imports(path)
        if name != "__version__" and not _may_import(str(path.relative_to(_ROOT)), name)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("library", ["flask", "redis", "rq", "label_studio_sdk", "httpx", "requests", "click"])
def test_the_model_knows_no_service(library: str) -> None:
    wrong = [
        str(path.relative_to(_ROOT))
        for path in _files("model")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == library for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == library)
    ]
    assert not wrong


def test_the_top_folders_are_the_package() -> None:
    """`src/captionloop` links to them; a checkout without links (some Windows settings) would be an empty package."""
    for folder in ("backend", "jobs", "model"):
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
