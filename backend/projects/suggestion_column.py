"""The suggestion as a column of Label Studio's task list.

Label Studio shows a prediction's `result` as it is stored, so the column begins with the caption's text, but has
the names of the boxes after it.
"""

from typing import Any

from captionloop.backend.label_studio.api_calls import Json
from captionloop.backend.label_studio.client import LabelStudio

_COLUMN = "tasks:predictions_results"
_WIDTH_PX = 420
# What Label Studio hides by itself in a new tab (`data_manager/functions.py`), without the suggestion.
_HIDDEN = (
    "inner_id", "annotations_results", "annotations_ids", "predictions_score", "predictions_model_versions",
    "file_upload", "storage_filename", "created_at", "updated_at", "updated_by", "avg_lead_time", "draft_exists",
)  # fmt: skip
_HIDDEN_BESIDE_A_TASK = (
    "id",
    "completed_at",
    "cancelled_annotations",
    "total_predictions",
    "annotators",
    "predictions_results",
)


def show_suggestions(label_studio: LabelStudio, project_id: int, *, in_all_tabs: bool) -> None:
    """Show the suggestion in the task list of a project that nobody has opened yet.

    Args:
        in_all_tabs: whether also in the tabs that there are.

    Raises:
        LabelStudioError: it refuses or does not answer.
    """
    views = label_studio.views(project_id)
    if not views:
        label_studio.create_view(project_id, _new_tab())
    for view in views if in_all_tabs else []:
        if (shown := _with_column(view["data"])) != view["data"]:
            label_studio.update_view(project_id, view["id"], shown)


def _new_tab() -> Json:
    explore = [f"tasks:{name}" for name in _HIDDEN]
    labeling = [*explore, *(f"tasks:{name}" for name in _HIDDEN_BESIDE_A_TASK)]
    return {
        "title": "Default",
        "type": "list",
        "target": "tasks",
        "hiddenColumns": {"explore": explore, "labeling": labeling},
        "columnsWidth": {_COLUMN: _WIDTH_PX},
    }


def _with_column(tab: Json) -> Json:
    hidden: dict[str, Any] = tab.get("hiddenColumns") or {}
    explore = [column for column in hidden.get("explore", []) if column != _COLUMN]
    width = {_COLUMN: _WIDTH_PX} | (tab.get("columnsWidth") or {})
    return tab | {"hiddenColumns": hidden | {"explore": explore}, "columnsWidth": width}
