"""What jobs work with, opened on a test's own database, home and Label Studio."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from captionloop.home import Home
from captionloop.jobs.context import Context
from captionloop.model.database import Database
from captionloop.settings import Settings

NO_REDIS = "redis://localhost:1"


@contextmanager
def opened_context(
    database: Database,
    home: Home,
    *,
    url: str,
    token: str,
    retry_delays_s: Sequence[float] = (),
    redis_url: str = NO_REDIS,
    **variables: str,
) -> Iterator[Context]:
    """
    Args:
        url, token: of the Label Studio.
        retry_delays_s: how long it waits before it asks Label Studio again; by default it does not.
        variables: further settings, by their names in the environment.
    """
    known = {
        "CAPTIONLOOP_DATABASE_URL": database.url,
        "CAPTIONLOOP_HOME": str(home.root),
        "LABEL_STUDIO_API_KEY": token,
        "LABEL_STUDIO_URL": url,
        "REDIS_URL": redis_url,
        **variables,
    }
    with closing(Context.open(Settings.read(known))) as context:
        context.label_studio._transport._retry_delays_s = tuple(retry_delays_s)
        yield context
