"""Take the README's pictures of a `captionloop up` that runs: `PYTHONPATH=. python docs/pictures/take.py [TASK]`."""

import json
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright
from tests.support.browser import ARGUMENTS, find_or_install

HERE = Path(__file__).parent


def main(task: int) -> None:
    command = [str(Path(sys.executable).with_name("captionloop")), "status", "--json"]
    studio = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["label_studio"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_or_install(playwright.chromium), args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 560})
        page.goto(f"{studio['url']}/user/login/")
        page.fill("input[name=email]", studio["email"])
        page.fill("input[name=password]", studio["password"])
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "/user/login" not in url)
        page.goto(f"{studio['url']}/projects/{studio['project_id']}/data?task={task}")
        page.get_by_test_id("htx-textbox-content").wait_for()
        page.wait_for_load_state("networkidle")
        page.screenshot(path=HERE / "suggestion.png")
        browser.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
