"""The checkpoint of a run in progress, from which a killed run resumes and ends with the same weights.

One file, replaced atomically: safetensors with every trained weight, AdamW's two moments and step of each, the states
of the random number generators, and further tensors of the run; plain data is in its header. Data order and
augmentation need no state: they depend on seed and step alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from captionloop.device import random_state, set_random_state
from captionloop.errors import RunError
from captionloop.home import atomically, storing

_WEIGHT, _OPTIMISER, _KEPT, _RANDOM = "weight/", "adam/", "kept/", "random"


@dataclass(frozen=True, slots=True)
class Resumed:
    """Further tensors and plain data of a checkpoint, as given to `save`."""

    kept: dict[str, Tensor]
    notes: dict[str, Any]


class TrainingState:
    """The file of one run.

    Args:
        path: of the file; created by the first `save`.
        identity: plain data that identifies model, data and settings; a checkpoint with another identity is ignored.
        is_kept_when_stopped: whether somebody who stops the run means to resume it later.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], *, is_kept_when_stopped: bool = False) -> None:
        self.is_kept_when_stopped = is_kept_when_stopped
        self._path = path
        self._identity = json.dumps(identity, sort_keys=True)

    def save(
        self,
        *,
        parameters: Mapping[str, nn.Parameter],
        optimizer: torch.optim.Optimizer,
        kept: Mapping[str, Tensor],
        notes: Mapping[str, Any],
    ) -> None:
        """Save everything that the next step depends on. `kept` are further tensors, `notes` further plain data.

        Raises:
            StorageError: the disk is full or read-only. The previous checkpoint remains.
        """
        tensors = {_WEIGHT + name: parameter.detach() for name, parameter in parameters.items()}
        tensors |= {_KEPT + name: tensor for name, tensor in kept.items()}
        for name, parameter in parameters.items():
            tensors |= {f"{_OPTIMISER}{name}/{key}": value for key, value in optimizer.state[parameter].items()}
        tensors[_RANDOM] = torch.get_rng_state()
        device = _device_of(parameters)
        if (state := random_state(device)) is not None:
            tensors[_random_on(device)] = state
        header = {"identity": self._identity, "notes": json.dumps(notes)}
        # Written from the tensors in place: copies would take as much memory as training itself.
        with storing(self._path, also=(SafetensorError,)), atomically(self._path) as temporary:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, header)

    @torch.no_grad()
    def load(self, *, parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> Resumed | None:
        """Restore weights, optimizer and random number generators; None when there is no checkpoint to resume from.

        Raises:
            RunError: the file is damaged.
        """
        if not self._path.exists():
            return None
        try:
            with safe_open(self._path, framework="pt") as file:
                header = file.metadata()
                if header["identity"] != self._identity:
                    return None
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        except (OSError, SafetensorError, KeyError) as error:
            raise RunError(f"{self._path} is damaged ({error}); delete it and start the run again.") from error
        for name, parameter in parameters.items():
            parameter.copy_(tensors[_WEIGHT + name])
            prefix = f"{_OPTIMISER}{name}/"
            optimizer.state[parameter] = {  # on the parameter's device, the step included, as fused AdamW requires
                key.removeprefix(prefix): value.to(parameter.device)
                for key, value in tensors.items()
                if key.startswith(prefix)
            }
        torch.set_rng_state(tensors[_RANDOM])
        device = _device_of(parameters)
        if (state := tensors.get(_random_on(device))) is not None:
            set_random_state(device, state)
        kept = {name.removeprefix(_KEPT): value for name, value in tensors.items() if name.startswith(_KEPT)}
        return Resumed(kept=kept, notes=json.loads(header["notes"]))


def _device_of(parameters: Mapping[str, nn.Parameter]) -> torch.device:
    return next(iter(parameters.values())).device


def _random_on(device: torch.device) -> str:
    return f"{_RANDOM}_{device.type}"
