"""`captionloop status`: what runs, and how far it is."""

import click

from captionloop.backend.commands.shared import json_option, print_result, project_option, running_settings


@click.command()
@project_option
@json_option
def status(*, project_id: int | None, as_json: bool) -> None:
    """Show what runs, which version is champion, and the progress of the present run.

    \b
    Example:
        captionloop status --json
    """
    from captionloop.backend.commands.status_text import read_status, status_lines

    shown = read_status(running_settings(), label_studio_id=project_id)
    print_result(shown, as_json, *status_lines(shown))
