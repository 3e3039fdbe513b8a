"""The web pages: server-rendered, in the same Flask app, at `/`.

Each page has a module with its routes, named as its tab; its data is gathered in `backend.page_data`, by a `Room`.
`access` has authentication, `frame` the layout. Pages work without JavaScript; `static/room.js` adds keys and live
values, and htmx (vendored) swaps fragments.
"""

from flask import Flask

from captionloop.backend.access.gatekeeper import Gatekeeper
from captionloop.backend.page_data.room import Room
from captionloop.backend.pages.access import protect
from captionloop.backend.pages.blueprint import pages


def add_pages(app: Flask, room: Room, gatekeeper: Gatekeeper) -> None:
    """Add the pages to the app."""
    from captionloop.backend.pages import (  # noqa: F401 (their routes join the blueprint)
        caption,
        compare,
        dataset,
        frame,
        health,
        images,
        overview,
        progress,
        project_settings,
        review,
        runs,
        styles,
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
