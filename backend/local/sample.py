"""The sample project, with drawn pictures.

`sample.json` in the home directory has the project's id, whether it is complete, and the canonical caption of each
picture by file name (Label Studio prefixes the names of uploaded files with eight digits and a dash).
"""

import io
import random
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from captionloop.backend.label_studio.client import LabelStudio
from captionloop.backend.label_studio.editor_style import with_editor_style
from captionloop.backend.label_studio.label_config import SAMPLE_LABEL_CONFIG
from captionloop.errors import NotFoundError
from captionloop.home import Home, read_json, write_json

if TYPE_CHECKING:
    from captionloop.model.starter.scenes import Scene

TITLE = "Captionloop sample"
_DESCRIPTION = "Pictures drawn by Captionloop. Correct some captions, then start training in Settings → Model."
_MANIFEST = "sample.json"
_IMAGES = 160
_SIZE_PX = 480
_SEED = "captionloop sample"
_PER_UPLOAD = 20

Progress = Callable[[float], None]  # called with the part that is done, 0 to 1


def ensure_sample(label_studio: LabelStudio, home: Home, *, server: str, progress: Progress) -> int:
    """Create and fill the sample project, once; returns its id in Label Studio.

    After a crash it is completed. Once complete it belongs to the user: deleted tasks do not come back. A project that
    was deleted as a whole is created again.

    Args:
        server: the name of this Label Studio (`Settings.server_name`).

    Raises:
        LabelStudioError: Label Studio does not answer or refuses.
    """
    path = home.root / _MANIFEST
    manifest = read_json(path)
    if manifest.get("server") != server or not label_studio.has_project(manifest["project_id"]):
        manifest = {"server": server, "project_id": _find_or_create(label_studio), "complete": False, "images": {}}
        write_json(path, manifest)
    project_id = int(manifest["project_id"])
    if not manifest["complete"]:
        images = _fill(label_studio, project_id, progress)
        write_json(path, manifest | {"complete": True, "images": images})
    return project_id


def pictures() -> Iterator[tuple[str, str, bytes]]:
    """The sample's pictures, always the same: file name, canonical caption, PNG."""
    from captionloop.model.starter.scenes import caption, draw

    for number, (name, scene) in enumerate(scenes().items(), start=1):
        file = io.BytesIO()
        draw(scene, size=_SIZE_PX, seed=number).save(file, "PNG")
        yield name, caption(scene), file.getvalue()


def scenes() -> "dict[str, Scene]":
    """The scene of each sample picture, by file name."""
    from captionloop.model.starter.scenes import random_scene

    rng = random.Random(_SEED)  # noqa: S311 (pictures, not secrets)
    return {f"scene-{number:03}.png": random_scene(rng) for number in range(1, _IMAGES + 1)}


def sample_project_id(home: Home) -> int:
    """The sample project's number in Label Studio.

    Raises:
        NotFoundError: there is none.
    """
    manifest = read_json(home.root / _MANIFEST)
    if not manifest.get("complete"):
        raise NotFoundError("There is no sample project here. `captionloop up` makes one, without --no-sample.")
    return int(manifest["project_id"])


def scene_of_task(data: Mapping[str, Any]) -> "Scene":
    """The scene of a task's picture.

    Raises:
        NotFoundError: the picture is not one of the sample's.
    """
    name = _file_name(data)
    if name not in (known := scenes()):
        raise NotFoundError(f"The sample project holds the picture {data.get('image')!r}, which is none of its own.")
    return known[name]


def _find_or_create(label_studio: LabelStudio) -> int:
    """The sample project, recognised by title and config if a crash left it without a manifest; else a new one."""
    config = with_editor_style(SAMPLE_LABEL_CONFIG)
    for project in label_studio.projects():
        if project["title"] == TITLE and project["label_config"].strip() == config.strip():
            return int(project["id"])
    return int(label_studio.create_project(TITLE, config, description=_DESCRIPTION)["id"])


def _fill(label_studio: LabelStudio, project_id: int, progress: Progress) -> dict[str, str]:
    """Upload missing pictures; returns all captions by file name."""
    present = {_file_name(task.data) for task in label_studio.all_tasks(project_id)}
    captions: dict[str, str] = {}
    waiting: list[tuple[str, bytes]] = []
    for name, caption, png in pictures():
        captions[name] = caption
        if name not in present:
            waiting.append((name, png))
        if len(waiting) == _PER_UPLOAD:
            label_studio.upload_images(project_id, waiting)
            waiting.clear()
        progress(len(captions) / _IMAGES)
    if waiting:
        label_studio.upload_images(project_id, waiting)
    return captions


def _file_name(data: Mapping[str, Any]) -> str:
    """The name under which a task's picture was uploaded: `/data/upload/1/0a1b2c3d-scene-001.png` → `scene-001.png`."""
    return str(data.get("image", "")).rpartition("/")[2].partition("-")[2]
