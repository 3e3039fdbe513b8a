"""The pages of a room with their addresses: for what has to hold on each of them."""


def page_paths(number: int, *, first: str, second: str, item: int) -> dict[str, str]:
    """The address of every kind of page of a project, by name.

    Args:
        number: the project's in Label Studio.
        first, second: two of its versions, compared by the run that made the second.
        item: one of its corrections.
    """
    here = f"/projects/{number}"
    pair = f"first={first}&second={second}"
    return {
        "overview": f"{here}/",
        "progress": f"{here}/progress",
        "health": f"{here}/health",
        "caption": f"{here}/caption",
        "review": f"{here}/review",
        "review of one": f"{here}/review?words=changed&item={item}",
        "review of none": f"{here}/review?text=nobody+wrote+this",
        "compare": f"{here}/compare?{pair}",
        "compare blind": f"{here}/compare?{pair}&blind=1",
        "versions": f"{here}/versions",
        "version": f"{here}/versions/{second}",
        "runs": f"{here}/runs",
        "run form": f"{here}/runs/new",
        "dataset": f"{here}/dataset",
        "dataset of problems": f"{here}/dataset?problem=picture-gone",
        "try": f"{here}/try",
        "settings": f"{here}/settings",
        "styles": f"{here}/styles",
        "error": f"{here}/versions/none",
    }
