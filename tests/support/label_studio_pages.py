"""What a person does in Label Studio's own pages, in a browser."""

from typing import Any

from playwright.sync_api import Locator, Page


def log_in_to_label_studio(page: Page, studio: dict[str, Any]) -> None:
    page.goto(f"{studio['url']}/user/login/")
    page.fill("input[name=email]", studio["email"])
    page.fill("input[name=password]", studio["password"])
    page.click("button[type=submit]")
    page.wait_for_url(lambda url: "/user/login" not in url)


def open_task(page: Page, studio: dict[str, Any], task: dict[str, Any]) -> None:
    """
    Args:
        studio: its address and the project's number, by "url" and "project_id".
    """
    page.goto(f"{studio['url']}/projects/{studio['project_id']}/data?task={task['id']}")


def draft(page: Page) -> Locator:
    """The caption in the annotator's own draft. Label Studio draws it more than once while a task opens."""
    return page.get_by_test_id("htx-textbox-content").or_(_older_draft(page))


def _older_draft(page: Page) -> Locator:
    """The same in a Label Studio that names fewer parts of its editor, as 1.12.1; so below."""
    return page.get_by_test_id("textarea-region").locator(".ant-typography")


def correct(page: Page, caption: str) -> None:
    draft(page).hover()
    page.get_by_test_id("htx-textbox-edit-button").or_(page.get_by_label("Edit Region")).click()
    text = page.get_by_test_id("htx-textbox-input").or_(_older_draft(page).locator("textarea"))
    text.fill(caption)
    if (save := page.get_by_test_id("htx-textbox-save")).count():
        save.click()
    else:
        text.press("Enter")
    with page.expect_response(lambda answer: "/annotations" in answer.url and answer.request.method == "POST") as saved:
        page.get_by_test_id("bottombar-submit-button").or_(page.get_by_label("submit", exact=True)).click()
    assert saved.value.status == 201


def start_training(page: Page, studio: dict[str, Any]) -> None:
    page.goto(f"{studio['url']}/projects/{studio['project_id']}/settings/ml")
    page.get_by_label("Machine learning model options").or_(page.locator(".ls-backend-card__menu button")).click()
    page.get_by_text("Start Training", exact=True).click()
    with page.expect_response(lambda answer: answer.url.endswith("/train")) as asked:
        page.get_by_role("button", name="Start Training").click()
    assert asked.value.ok
