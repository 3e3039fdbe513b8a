"""The blueprint that the modules of the pages add their routes to."""

from flask import Blueprint

pages = Blueprint("pages", __name__, template_folder="templates", static_folder="static", static_url_path="/static")
