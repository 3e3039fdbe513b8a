"""The blueprint of all pages, and the present room."""

from typing import cast

from flask import Blueprint, current_app

from captionloop.backend.page_data.room import Room

pages = Blueprint("pages", __name__, template_folder="templates", static_folder="static", static_url_path="/static")


def current_room() -> Room:
    """The room of the present request's app."""
    return cast(Room, current_app.extensions["captionloop_room"])
