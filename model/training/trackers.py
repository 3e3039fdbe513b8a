"""MLflow and Weights & Biases, through accelerate's trackers.

Each is used when its own variable is set (MLFLOW_TRACKING_URI, WANDB_PROJECT), and reads its other variables itself. A
tracker that fails, at any moment, is logged and dropped, and the run continues.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from captionloop.home import write_atomically

logger = logging.getLogger(__name__)

# The variable that enables a tracker, the module it needs, and our extra that installs it.
_KNOWN = {"MLflow": ("MLFLOW_TRACKING_URI", "mlflow"), "Weights & Biases": ("WANDB_PROJECT", "wandb")}


class Trackers:
    """The enabled trackers, for one run; none is started before `begin`.

    Args:
        run: our name of the run, also used in the trackers.
        environment: contains their variables.
        directory: for local data. A resumed run finds its earlier records there.
    """

    def __init__(self, run: str, *, environment: Mapping[str, str], directory: Path) -> None:
        self._run, self._environment, self._directory = run, environment, directory
        self._trackers: dict[str, Any] = {}

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Start them, or continue the records of a resumed run; `settings` are the run's."""
        for name, (variable, module) in _KNOWN.items():
            if not self._environment.get(variable):
                continue
            if importlib.util.find_spec(module) is None:
                logger.warning(
                    "%s is set, but %s is not installed, so the run is not recorded there: "
                    "pip install 'captionloop[%s]'", variable, name, module,
                )  # fmt: skip
                continue
            self._directory.mkdir(parents=True, exist_ok=True)
            start = self._start_mlflow if module == "mlflow" else self._start_wandb
            self._attempt(name, partial(self._keep, name, start))
        self._each(lambda tracker: tracker.store_init_configuration(dict(settings)))

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Record figures by name."""
        self._each(lambda tracker: tracker.log(dict(figures), step=step))

    def finish(self) -> None:
        """End the records; `begin` may continue them later."""
        self._each(lambda tracker: tracker.finish())
        self._trackers.clear()

    def _keep(self, name: str, start: Callable[[], Any]) -> None:
        self._trackers[name] = start()

    def _start_mlflow(self) -> Any:
        from accelerate.tracking import MLflowTracker

        noted = self._directory / "mlflow-run"  # has MLflow's id of the run
        earlier = noted.read_text(encoding="utf-8") if noted.exists() else None
        tracker = MLflowTracker(experiment_name="captionloop", run_name=self._run, run_id=earlier)
        tracker.start()
        write_atomically(noted, tracker.tracker.info.run_id.encode())
        return tracker

    def _start_wandb(self) -> Any:
        from accelerate.tracking import WandBTracker

        tracker = WandBTracker(
            self._environment["WANDB_PROJECT"], id=self._run, name=self._run, resume="allow", dir=str(self._directory)
        )
        tracker.start()
        return tracker

    def _each(self, act: Callable[[Any], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            self._attempt(name, partial(act, tracker))

    def _attempt(self, name: str, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 (each tracker has errors of its own, down to those of its HTTP client)
            logger.warning("%s failed, and hears no more of run %s: %s", name, self._run, error)
            self._trackers.pop(name, None)
