"""The JSON API at `/api/v1`: the data and actions of the pages, by the same functions.

A module for each page has its routes; `endpoints` reads and writes JSON by the types of their functions, `access`
authenticates, `openapi` describes everything from those types and docstrings.
"""

from flask import Flask

from captionloop.backend.api.endpoints import api


def add_api(app: Flask) -> None:
    """Add the API to an app with the pages."""
    from captionloop.backend.api import (  # noqa: F401 (what they define joins the blueprint)
        access,
        compare,
        dataset,
        openapi,
        overview,
        review,
        runs,
        styles,
        versions,
    )

    app.register_blueprint(api.blueprint, url_prefix="/api/v1")
