"""A client of a running backend's JSON API."""

from dataclasses import dataclass
from typing import Any

import httpx

from captionloop.backend.label_studio.api_calls import Json
from tests.support.studio import wait_for


@dataclass(frozen=True)
class Backend:
    """The API for one project; an answer takes milliseconds, where a command takes seconds to start."""

    client: httpx.Client

    def told(self, path: str) -> Any:
        return self.client.get(path).raise_for_status().json()

    def champion(self) -> str:
        return str(self.told("/overview")["champion"])

    def corrections(self) -> int:
        """How many teach the model."""
        return int(self.told("/overview")["figures"]["corrections"])

    def latest_run(self) -> Json | None:
        found: Json | None = self.told("/overview")["run"]
        return found

    def is_idle(self) -> bool:
        """Whether no run goes on or waits."""
        return not self.told("/runs")["unfinished"]

    def waits_until_idle(self, *, within_s: float) -> None:
        wait_for(self.is_idle, within_s=within_s)
