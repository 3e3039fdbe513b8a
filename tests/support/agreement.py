"""Whether nothing was lost: our corrections against Label Studio's annotations, versions against their files."""

from captionloop.backend.label_studio.api_calls import Json
from captionloop.jobs.context import Context
from captionloop.model.database import Project
from captionloop.model.dataset.corrections import PRESENT, of_tasks
from captionloop.model.versions.manifest import verify_files

_TASKS_AT_ONCE = 100


def disagreements(context: Context, project: Project) -> list[str]:
    """Each annotation and each correction that has not its like on the other side, in words.

    For projects in which an annotation is one text.
    """
    number = project.label_studio_id
    ids = [task.id for task in context.label_studio.all_tasks(number)]
    theirs: dict[int, tuple[int, list[str]]] = {}
    ours: dict[int, tuple[int, list[str]]] = {}
    for start in range(0, len(ids), _TASKS_AT_ONCE):
        part = ids[start : start + _TASKS_AT_ONCE]
        for task in context.label_studio.tasks(number, part):
            theirs |= {annotation["id"]: (task["id"], _texts(annotation)) for annotation in task["annotations"]}
        with context.database.reading() as session:
            for annotation_id, row in of_tasks(session, project.id, part).items():
                if row.state in PRESENT:
                    assert row.task_id is not None
                    ours[annotation_id] = (row.task_id, list(row.captions))
    return [
        f"annotation {annotation}: {theirs.get(annotation)} in Label Studio, {ours.get(annotation)} here"
        for annotation in sorted(theirs.keys() | ours.keys())
        if theirs.get(annotation) != ours.get(annotation)
    ]


def broken_versions(context: Context, project: Project) -> list[str]:
    """What is wrong with the versions that rows promise: each has to be whole, and the champion has to caption."""
    from PIL import Image

    problems = []
    for info in context.versions.all_of(project.id):
        try:
            verify_files(info.path)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is told)
            problems.append(f"{info.version}: {error}")
    champions = [info for info in context.versions.all_of(project.id) if info.state == "champion"]
    if len(champions) != 1:
        problems.append(f"{len(champions)} champions")
    for champion in champions:
        context.captioner(champion).caption([Image.new("RGB", (64, 64), "red")])
    return problems


def _texts(annotation: Json) -> list[str]:
    return [text for item in annotation["result"] for text in item["value"]["text"]]
