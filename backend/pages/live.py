"""Live fragments of pages, as server-sent events."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import BoundedSemaphore, Event
from time import monotonic

from flask import Response, request, stream_with_context

from captionloop.backend.pages.blueprint import current_room

# A stream occupies one of the server's threads, which Label Studio needs as well: further browsers get one message per
# request, and poll.
_STREAMS = BoundedSemaphore(4)
_STREAM_S = 60
_POLL_INTERVAL_S = 0.5
_ASK_AGAIN_MS = 2000
_EVENTS = "text/event-stream"
# nginx otherwise holds back what it gets until it has some kilobytes, for half a minute.
_AS_IT_COMES = {"X-Accel-Buffering": "no"}


@dataclass(frozen=True)
class Shown:
    """A fragment: the facts it depends on, and a function that renders it when they have changed."""

    facts: object
    draw: Callable[[], str]


def streamed(read: Callable[[], Shown | None]) -> Response:
    """Send `run` with the fragment each time its facts change, and `over` when `read` returns None."""
    if request.method == "HEAD":  # its body is never read, so it would occupy the thread for ever
        return Response(mimetype=_EVENTS)
    may_stream = _STREAMS.acquire(blocking=False)
    stop = current_room().service.stopping
    changes = _changes(read, until=monotonic() + (_STREAM_S if may_stream else 0), stop=stop)
    response = Response(stream_with_context(changes), mimetype=_EVENTS, headers=_AS_IT_COMES)
    if may_stream:
        # Not at the end of the generator, which is never reached if it was never started.
        response.call_on_close(_STREAMS.release)
    return response


def _changes(read: Callable[[], Shown | None], *, until: float, stop: Event) -> Iterator[str]:
    yield f"retry: {_ASK_AGAIN_MS}\n\n"
    before = None
    while True:
        shown = read()
        if shown is None:
            yield _event("over", "")
            return
        if shown.facts != before:
            before = shown.facts
            yield _event("run", shown.draw())
        else:
            # A comment, which browsers ignore: only by writing a closed connection is noticed.
            yield ":\n\n"
        if monotonic() > until or stop.wait(_POLL_INTERVAL_S):
            return


def _event(name: str, text: str) -> str:
    return f"event: {name}\n" + "".join(f"data: {line}\n" for line in text.splitlines() or [""]) + "\n"
