"""Error messages about Label Studio: what was found, and the remedy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from captionloop.backend.label_studio.network_environment import through_which_proxy, why_not_trusted
from captionloop.errors import LabelStudioError

if TYPE_CHECKING:
    import httpx

_OK = 200


def no_answer(url: str, error: Exception) -> LabelStudioError:
    """An error for an exception of httpx."""
    import httpx

    if isinstance(error, httpx.ConnectTimeout):
        return _unreachable(url, "no answer to the connection")
    if isinstance(error, httpx.TimeoutException):
        return LabelStudioError(
            f"Label Studio at {url} did not answer in time. See whether it is overloaded, and try again."
        )
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return LabelStudioError(f"{url!r} is no address of a Label Studio ({error}). Correct LABEL_STUDIO_URL.")
    if problem := why_not_trusted(error):
        return LabelStudioError(f"Label Studio at {url} cannot be reached: {problem}")
    return _unreachable(url, str(error) or type(error).__name__)


def _unreachable(url: str, cause: str) -> LabelStudioError:
    return LabelStudioError(
        f"Label Studio at {url} cannot be reached ({cause}). Start it, or correct LABEL_STUDIO_URL."
        + through_which_proxy(url)
    )


def packed(url: str, coding: str, *, status: int) -> LabelStudioError:
    return LabelStudioError(
        f"Label Studio at {url} answered in the coding {coding!r}, which nobody asked for. Have what stands before it "
        "(a proxy?) pass answers on as they are.",
        status=status,
    )


def too_large(url: str, most_bytes: int, *, status: int) -> LabelStudioError:
    return LabelStudioError(
        f"Label Studio at {url} answered with more than {most_bytes:,} bytes. If tasks hold whole pictures as data: "
        "addresses, upload these instead.",
        status=status,
    )


def lost_in_import(url: str, project_id: int, lost: int) -> LabelStudioError:
    return LabelStudioError(
        f"Label Studio at {url} has repeatedly imported tasks into project {project_id} without {lost} of their "
        "annotations and predictions, as it does when its SQLite database is locked by others. The tasks are deleted "
        "again. Try again when fewer people work, or give Label Studio a PostgreSQL."
    )


def no_json(url: str, response: httpx.Response) -> LabelStudioError:
    return LabelStudioError(
        f"{url} answered with {_kind(response)} instead of JSON. Check that LABEL_STUDIO_URL names a Label Studio, "
        f"with the path that it lives under.{through_which_proxy(url)}",
        status=response.status_code,
    )


def unexpected(url: str, request: str, found: str) -> LabelStudioError:
    """An error for unexpected JSON.

    Args:
        found: what is wrong with it, as a clause that begins with "which" or "in which".
    """
    return LabelStudioError(
        f"Label Studio at {url} answered {request} with something unexpected, {found}. Check that LABEL_STUDIO_URL "
        "names a Label Studio, and its version.",
        status=_OK,
    )


def address_of_a_page(url: str, own: str) -> LabelStudioError:
    """An error for the address of one of Label Studio's pages.

    Args:
        own: the address without that path; the same where none is known.
    """
    remedy = f": {own}" if own != url else ", with the path that it lives under and no further"
    return LabelStudioError(
        f"A Label Studio answers at {url}, but its API is not there. Set LABEL_STUDIO_URL to its own address{remedy}.",
        status=404,
    )


def refusal(url: str, response: httpx.Response, what: str) -> LabelStudioError:
    """An error for a response with an error status.

    Args:
        what: names the thing that was asked for.
    """
    if response.is_redirect:
        message = (
            f"Label Studio at {url} redirects to {response.headers.get('location')!r}. Set LABEL_STUDIO_URL to the "
            "address that it ends up at."
        )
    elif _is_json(response):
        message = _refused(url, response, what)
    else:
        message = _refused(url, response, what) + through_which_proxy(url)
    return LabelStudioError(message, status=response.status_code)


def _refused(url: str, response: httpx.Response, what: str) -> str:
    status, detail = response.status_code, _detail(response)
    if status == 401:
        return (
            f"Label Studio at {url} does not accept the access token{detail}. Copy a current one from its Account & "
            "Settings page into LABEL_STUDIO_API_KEY."
        )
    if status == 403:
        return (
            f"Label Studio at {url} does not allow this account to use the {what}{detail}. Use the token of someone "
            "who may."
        )
    if status == 404 and _is_json(response):
        return f"Label Studio at {url} has no {what}, or this account cannot see it."
    if status == 404:
        return (
            f"{url} answered 404 with {_kind(response)}: there seems to be no Label Studio. Correct LABEL_STUDIO_URL, "
            "with the path that it lives under."
        )
    if status >= 500 or status == 429:
        return f"Label Studio at {url} failed with status {status}{detail}. Try again; if it stays, see its log."
    return f"Label Studio at {url} refused the request about the {what} ({status}){detail}."


def _is_json(response: httpx.Response) -> bool:
    return "json" in response.headers.get("Content-Type", "")


def _kind(response: httpx.Response) -> str:
    content_type = response.headers.get("Content-Type", "").split(";")[0]
    return "a web page" if content_type == "text/html" else content_type or "something"


def _detail(response: httpx.Response) -> str:
    """Label Studio's own reason, in brackets, or nothing."""
    if not _is_json(response):
        return ""
    try:
        reasons = _reasons(response.json())
    except (ValueError, RecursionError):  # the status says enough
        return ""
    text = " ".join(" ".join(reasons).split()).rstrip(".")
    return f" ({text[:300]})" if text else ""


def _reasons(answer: Any) -> list[str]:
    if not isinstance(answer, dict):
        return []
    errors = answer.get("validation_errors")
    return _leaves(errors) if errors else _leaves(answer.get("detail"))


def _leaves(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [f"{key}: {leaf}" for key, inner in value.items() for leaf in _leaves(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in _leaves(inner)]
    return [] if value is None else [str(value)]
