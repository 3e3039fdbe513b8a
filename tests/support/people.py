"""A second person in a Label Studio, with an account of their own."""

from urllib.parse import urlsplit

import httpx

from tests.support.servers import LabelStudioServer

PASSWORD = "let-me-in-123"


def another_annotator(server: LabelStudioServer, email: str) -> httpx.Client:
    """Somebody who signs up by the owner's invitation; their own requests to Label Studio's API."""
    owner = {"Authorization": f"Token {server.token}"}
    with httpx.Client(base_url=server.url, follow_redirects=True, timeout=60) as browser:
        invitation = browser.get("/api/invite", headers=owner).raise_for_status().json()["invite_url"]
        form = f"/user/signup/?{urlsplit(invitation).query}"
        browser.get(form).raise_for_status()
        fields = {"email": email, "password": PASSWORD, "allow_newsletters": "false"}
        headers = {"X-CSRFToken": browser.cookies["csrftoken"], "Referer": server.url}
        browser.post(form, data=fields, headers=headers).raise_for_status()
        token = browser.get("/api/current-user/token").raise_for_status().json()["token"]
    return httpx.Client(base_url=server.url, headers={"Authorization": f"Token {token}"}, timeout=60)
