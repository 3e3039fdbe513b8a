"""`captionloop versions`, `promote`, `rollback`."""

import click

from captionloop.backend.commands.shared import chosen_project, json_option, print_result, project_option, ready_context


@click.command()
@project_option
@json_option
def versions(*, project_id: int | None, as_json: bool) -> None:
    """List the versions of a project's model.

    \b
    Example:
        captionloop versions --json
    """
    from captionloop.backend.commands.status_text import versions_table

    with ready_context() as context:
        rows = context.versions.all_of(chosen_project(context, project_id).id)
    print_result([info.to_dict() for info in rows], as_json, *versions_table(rows).split("\n"))


@click.command()
@click.argument("version")
@project_option
@json_option
def promote(*, version: str, project_id: int | None, as_json: bool) -> None:
    """Make VERSION the champion of a project: it makes the suggestions from now on.

    \b
    Example:
        captionloop promote v3-9c41f2
    """
    from captionloop.jobs.project.promotion import promote as promote_version

    with ready_context() as context:
        project = chosen_project(context, project_id)
        promote_version(context, project, version, reason="promoted by hand")
    print_result({"champion": version}, as_json, f"{version} is the champion.")


@click.command()
@project_option
@json_option
def rollback(*, project_id: int | None, as_json: bool) -> None:
    """Make the previous champion champion again.

    \b
    Example:
        captionloop rollback
    """
    from captionloop.jobs.project.promotion import rollback as roll_back

    with ready_context() as context:
        champion = roll_back(context, chosen_project(context, project_id))
    print_result({"champion": champion}, as_json, f"{champion} is the champion again.")
