"""Somebody at the caption screen in a real browser, who has only a keyboard."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.people import PASSWORD

if TYPE_CHECKING:
    from playwright.sync_api import Page

KEEP = "Control+Enter"
# How long the next picture takes: from the key to the frame in which it stands, decoded, with its caption.
_WATCH = """() => {
  window.times = [];
  const stands = (task) => {
    const picture = document.getElementById("picture");
    return document.getElementById("place").textContent !== task && !picture.hidden && picture.complete;
  };
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    const [begun, task] = [performance.now(), document.getElementById("place").textContent];
    const look = () => stands(task) ? window.times.push(performance.now() - begun) : requestAnimationFrame(look);
    requestAnimationFrame(look);
  }, true);
}"""


@dataclass
class ScreenPerson:
    """A signed-in person, with a count of the keys they have pressed."""

    page: "Page"
    keys: int = 0

    @classmethod
    def at(cls, page: "Page", address: str, number: int, email: str) -> "ScreenPerson":
        page.goto(f"{address}/projects/{number}/caption")
        page.fill("input[name=user]", email)
        page.fill("input[name=password]", PASSWORD)
        page.press("input[name=password]", "Enter")
        person = cls(page)
        person.waits_for_task()
        page.evaluate(_WATCH)
        return person

    def waits_for_task(self, *, other_than: int | None = None) -> int:
        """The task on the screen, when there is one."""
        self.page.wait_for_function(
            "([other]) => { const place = document.getElementById('place')?.textContent ?? '';"
            " return /^Task \\d/.test(place) && !RegExp(`^Task ${other}\\\\b`).test(place)"
            " && !document.getElementById('caption').disabled; }",
            arg=[other_than],
        )
        found = re.search(r"\d+", self.page.locator("#place").inner_text())
        assert found
        return int(found[0])

    @property
    def text(self) -> str:
        return self.page.locator("#caption").input_value()

    def presses(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
            self.keys += 1

    def types(self, text: str) -> None:
        self.page.keyboard.type(text)
        self.keys += len(text)

    def takes_the_rest(self) -> None:
        """Tab, until the model has answered, and Tab again."""
        self.presses("Tab")
        self.page.wait_for_selector("#caption.with-rest")
        self.presses("Tab")

    def waits_until_all_is_sent(self) -> None:
        self._waits_until("stored.outbox.length === 0")

    def waits_until_next_are_ready(self) -> None:
        """All is sent, and two further pictures can be captioned whatever happens to the backend."""
        self._waits_until("stored.outbox.length === 0 && stored.queue.length === 3")

    def _waits_until(self, condition: str) -> None:
        """Until something holds of what the page has stored."""
        self.page.wait_for_function(
            "() => { const key = Object.keys(localStorage).find((name) => /^captionloop:\\d+:[^:]+$/.test(name));"
            f" const stored = JSON.parse(localStorage.getItem(key)); return {condition}; }}"
        )

    def times_ms(self) -> list[float]:
        """How long each next picture took."""
        return [float(found) for found in self.page.evaluate("window.times")]
