"""Where a run is, on disk, so that one that was killed goes on where it was and ends with the same weights.

One file, replaced as a whole: safetensors with every trained weight, AdamW's two averages and step of each, the state
of the random numbers, and what else the run keeps; plain data is in its header. The data order and the augmentation
need no state: they follow from the seed and the step.
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
    """What a state says beside weights and optimiser, both as they were given to `save`."""

    kept: dict[str, Tensor]
    notes: dict[str, Any]


class TrainingState:
    """The file of one run.

    Args:
        path: where it lies; made when first saved.
        identity: plain data that says what is trained on what; a state of something else is not gone on from.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
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
        """Write down all that the next step depends on. `kept` are further tensors, `notes` further plain data.

        Raises:
            StorageError: the disk is full, or is not to be written on. The state before stays.
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
        # From where the tensors are: a copy of all would take as much memory as training itself.
        with storing(self._path, also=(SafetensorError,)), atomically(self._path) as temporary:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, header)

    @torch.no_grad()
    def load(self, *, parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> Resumed | None:
        """Put weights, optimiser and random numbers back as they were saved; None when there is nothing to go on from.

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
            optimizer.state[parameter] = {  # all of it where the parameter is, as the fused AdamW keeps it
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
