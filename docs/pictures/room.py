"""Take pictures of every page, light, dark and on a phone: `PYTHONPATH=. python docs/pictures/room.py DIRECTORY`.

By default of a home that it fills and serves itself; with `--url`, `--user` and `--password` of a backend that runs
(`captionloop status --json` prints them). `--readme` puts a picture of the README beside this file: review of the home
that it fills, overview of a backend that runs, which in the README is that of a `make demo` that has come to its end.
"""

import argparse
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.seed import seed
from benchmarks.served_room import PASSWORD, USER, served_room
from playwright.sync_api import Browser, Page, sync_playwright
from tests.support.browser import ARGUMENTS, find_or_install
from tests.support.room_pages import page_paths

from captionloop.home import Home

HERE = Path(__file__).parent
_LOOKS = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 800}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 800}},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}, "device_scale_factor": 2},
}
# Those below the edge of the window are else loaded when somebody scrolls there.
_SHOW_ALL_PICTURES = "document.querySelectorAll('img[loading]').forEach((image) => (image.loading = 'eager'))"


@contextmanager
def seeded() -> Iterator[str]:
    """The address of a backend with a project as it is after months."""
    with tempfile.TemporaryDirectory() as directory:
        home = Home(Path(directory) / "home")
        seed(home, corrections_count=300, versions=6, images=120)
        with served_room(home) as room:
            yield room.address


def sign_in(page: Page, address: str, user: str, password: str) -> None:
    page.goto(f"{address}/login")
    page.fill("input[name=user]", user)
    page.fill("input[name=password]", password)
    page.click("button.primary")


def paths_of(page: Page, address: str, number: int) -> dict[str, str]:
    """Every page of a project that there is something on."""
    page.goto(f"{address}/projects/{number}/compare")
    pair = re.search(r"first=([^&]+)&second=([^&]+)", page.url)
    page.goto(f"{address}/projects/{number}/review")
    item = page.locator("a[href*='item=']").first.get_attribute("href") or ""
    first, second = pair.groups() if pair else ("", "")
    found = page_paths(number, first=first, second=second, item=int(item.rpartition("item=")[2].partition("&")[0] or 1))
    return {"login": "/login", **found}


def take(browser: Browser, address: str, directory: Path, *, user: str, password: str, number: int) -> None:
    for look, options in _LOOKS.items():
        context = browser.new_context(locale="en-US", **options)  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(f"{address}/login")
        page.screenshot(path=directory / f"login-{look}.png")
        sign_in(page, address, user, password)
        for name, path in paths_of(page, address, number).items():
            if name != "login":
                page.goto(f"{address}{path}")
                page.evaluate(_SHOW_ALL_PICTURES)
                page.locator(".still-looking").wait_for(state="detached")
                page.wait_for_load_state("networkidle")
                page.screenshot(path=directory / f"{name.replace(' ', '-')}-{look}.png", full_page=True)
        context.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--url", help="of a backend that runs")
    parser.add_argument("--user", default=USER)
    parser.add_argument("--password", default=PASSWORD)
    parser.add_argument("--project", type=int, default=1, help="its number in Label Studio")
    parser.add_argument("--readme", action="store_true", help="also renew a picture of the README")
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_or_install(playwright.chromium), args=ARGUMENTS)
        if options.url:
            take(browser, options.url, options.directory, user=options.user, password=options.password,
                 number=options.project)  # fmt: skip
        else:
            with seeded() as address:
                take(browser, address, options.directory, user=USER, password=PASSWORD, number=options.project)
        browser.close()
    if options.readme:
        name = "overview" if options.url else "review"
        shutil.copy(options.directory / f"{name}-light.png", HERE / f"{name}.png")


if __name__ == "__main__":
    main()
