"""The JSON API at `/api/v1`: what the pages show, from the same functions, and the changes that they offer.

A module for each page holds its addresses; `endpoints` reads and writes JSON by the types of their functions, `access`
says who may, `openapi` describes all of it from those types and docstrings.
"""

from flask import Flask

from captionloop.backend.api.endpoints import api


def add_api(app: Flask) -> None:
    """Put the API into an app that has the pages."""
    from captionloop.backend.api import (  # noqa: F401 (what they define joins the blueprint)
        access,
        compare,
        dataset,
        openapi,
        overview,
        review,
        runs,
        versions,
    )

    app.register_blueprint(api.blueprint, url_prefix="/api/v1")
