"""The command line: `captionloop COMMAND`. The commands lie in `backend/commands/` and import what they use when used.

Exit codes: 0 done, 1 failed, 2 wrong usage or setting, 3 a service does not answer, 4 what was named is not there,
5 something else holds what is needed, 6 done but for some bad rows, files or tasks, 130 interrupted.
"""

import os
import select
import sys
from collections.abc import Sequence
from typing import Any

import click

from captionloop.backend.commands.backup import backup, restore
from captionloop.backend.commands.bench import bench
from captionloop.backend.commands.caption import caption
from captionloop.backend.commands.compare import compare
from captionloop.backend.commands.connection import connect, doctor, sync
from captionloop.backend.commands.dataset import dataset
from captionloop.backend.commands.evaluation import evaluate, report
from captionloop.backend.commands.key import key_group
from captionloop.backend.commands.migrate import migrate
from captionloop.backend.commands.project import project_group
from captionloop.backend.commands.running import demo, serve, up, worker
from captionloop.backend.commands.runs import annotate, cancel, finetune
from captionloop.backend.commands.simulate import simulate
from captionloop.backend.commands.status import status
from captionloop.backend.commands.style import style_group
from captionloop.backend.commands.sweep import sweep
from captionloop.backend.commands.train import train
from captionloop.backend.commands.versions import promote, rollback, versions
from captionloop.backend.label_studio.network_environment import keep_loopback_direct
from captionloop.backend.terminal.output import print_line, print_usage_error
from captionloop.errors import CaptionloopError

_INTERRUPTED = 130
_SHOWN_OF_A_PATH = 200
# Captions and pictures are people's own, also in files that libraries write and that programs started here do.
_OWNER_ALONE = 0o077


def _reader_has_gone() -> bool:
    output = select.poll()
    output.register(1, select.POLLERR)
    return bool(output.poll(0))


class _Commands(click.Group):
    """Commands in the order of the loop, as they are added below, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Click says nothing of a pipe that breaks, as if it were always that of a reader, such as `head`.

        Another one is a mistake of ours, so that it has a traceback.
        """
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            if _reader_has_gone():
                raise
            raise RuntimeError("Something that this command was talking to has gone.") from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show tracebacks, and log everything.")
@click.version_option(package_name="captionloop", message="%(version)s")
@click.pass_context
def cli(ctx: click.Context, *, debug: bool) -> None:
    """BLIP captions in Label Studio that get better with every correction.

    \b
    A newcomer needs one command:
        captionloop up
    """
    ctx.obj = {"debug": debug}
    os.umask(_OWNER_ALONE)
    keep_loopback_direct(os.environ)  # for this command and all that it starts


for _command in (
    up, demo, serve, worker,
    connect, doctor, sync,
    finetune, annotate, cancel, versions, promote, rollback,
    train, caption,
    status, project_group, style_group, sweep, dataset,
    evaluate, compare, report, simulate, backup, restore, migrate, bench, key_group,
):  # fmt: skip
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an error is one sentence on stderr, with the exit code of its kind."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = cli.main(argv, prog_name="captionloop", standalone_mode=False)
    except click.ClickException as error:
        print_usage_error(error)
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        print_line("Interrupted.", err=True)
        code = _INTERRUPTED
    except CaptionloopError as error:
        if "--debug" in argv:
            raise
        print_line(f"Error: {error}", err=True)
        code = error.exit_code
    except OSError as error:
        if "--debug" in argv or error.filename is None:
            raise
        # What a person named, in a directory that may not be read, or longer than a file system allows.
        print_line(f"Error: {str(error.filename)[:_SHOWN_OF_A_PATH]} cannot be used ({error.strerror}).", err=True)
        code = 1
    sys.exit(code if isinstance(code, int) else 0)
