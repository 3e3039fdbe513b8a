"""The review room: a few server-rendered pages of the same Flask app, at `/`.

A module for each page, named as its tab, with its routes; what a page shows is gathered in `backend.page_data`, whose
`room` they work with. `access` says who may, `frame` what stands around every page. Pages work without script;
`static/room.js` adds keys and live values, and htmx (vendored) exchanges parts of a page.
"""

from flask import Flask

from captionloop.backend.access.gatekeeper import Gatekeeper
from captionloop.backend.page_data.room import Room
from captionloop.backend.pages.access import protect
from captionloop.backend.pages.blueprint import pages


def add_pages(app: Flask, room: Room, gatekeeper: Gatekeeper) -> None:
    """Put the pages into the app."""
    from captionloop.backend.pages import (  # noqa: F401 (their routes join the blueprint)
        compare,
        dataset,
        frame,
        health,
        images,
        overview,
        project_settings,
        review,
        runs,
        try_it,
        versions,
    )

    app.extensions["captionloop_room"] = room
    protect(
        app,
        gatekeeper,
        home=room.home,
        seal=room.context.seal,
        is_https=(room.settings.backend_url or "").startswith("https://"),
    )
    app.register_blueprint(pages)
