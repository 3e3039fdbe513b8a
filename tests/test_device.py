"""Only `device.py` knows kinds of devices. Without a GPU, available kinds are simulated."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from captionloop import device as devices
from captionloop.device import AUTO, KINDS, chosen_device, computes_in_bf16, peak_memory
from captionloop.errors import SettingsError
from captionloop.settings import Settings

_ROOT = Path(__file__).parent.parent
_SOURCES = [path for folder in ("backend", "jobs", "model", "src") for path in (_ROOT / folder).rglob("*.py")]
_GPUS = set(KINDS) - {"cpu"}


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Says which kinds are here, the CPU aside."""

    def say(*kinds: str) -> None:
        for kind in _GPUS:
            monkeypatch.setattr(getattr(torch, kind), "is_available", lambda kind=kind: kind in kinds)

    return say


@pytest.mark.parametrize(
    ("kinds", "chosen"),
    [((), "cpu"), (("mps",), "mps"), (("xpu",), "xpu"), (("cuda", "xpu"), "cuda"), (("mps", "xpu", "cuda"), "cuda")],
)
def test_the_first_kind_that_is_here_is_taken(kinds: tuple[str, ...], chosen: str, here: Callable[..., None]) -> None:
    here(*kinds)
    assert chosen_device(AUTO) == torch.device(chosen)


@pytest.mark.parametrize("named", KINDS)
def test_a_device_that_is_named_is_taken_whatever_else_is_here(named: str, here: Callable[..., None]) -> None:
    here(*_GPUS)
    assert chosen_device(named) == torch.device(named)


def test_a_device_that_is_not_here_is_an_error_that_names_the_setting_and_what_there_is(
    here: Callable[..., None],
) -> None:
    here("mps")
    with pytest.raises(SettingsError, match=r"^CAPTIONLOOP_DEVICE is 'cuda', but PyTorch .* only mps, cpu\."):
        chosen_device("cuda")


@pytest.mark.parametrize("value", ["gpu", "CUDA", "cuda:1", "meta"])
def test_an_unknown_kind_of_device_is_an_error_that_names_all(value: str) -> None:
    with pytest.raises(
        SettingsError, match=f"CAPTIONLOOP_DEVICE is '{value}', but must be one of auto, cuda, mps, xpu"
    ):
        Settings.read({"CAPTIONLOOP_DEVICE": value})


def test_the_setting_takes_every_kind() -> None:
    for kind in (AUTO, *KINDS):
        assert Settings.read({"CAPTIONLOOP_DEVICE": kind}).device == kind


def test_bf16_is_for_the_gpu_that_says_it_multiplies_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, says in (("cuda", True), ("xpu", False)):
        monkeypatch.setattr(getattr(torch, kind), "is_bf16_supported", lambda *, including_emulation, says=says: says)
        assert computes_in_bf16(torch.device(kind)) is says
    assert not computes_in_bf16(torch.device("mps"))


def test_memory_is_what_the_kind_can_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {
        "cuda": SimpleNamespace(max_memory_allocated=lambda device: 7),
        "mps": SimpleNamespace(driver_allocated_memory=lambda: 5),
    }
    monkeypatch.setattr(devices, "_module", lambda device: told[device.type])
    assert [peak_memory(torch.device(kind)) for kind in ("cuda", "mps", "cpu")] == [7, 5, None]


# -- nobody else knows the kinds -----------------------------------------------------------------------------------


def _kinds_named(source: str) -> Iterator[tuple[int, str]]:
    """Lines that name a kind of GPU or use what only it has: `torch.cuda`, `.cuda()`, "cuda:0", `import torch.mps`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in _GPUS:
            yield node.lineno, node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.split(":")[0] in _GPUS:
            yield node.lineno, node.value
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            yield from ((node.lineno, name) for name in names if _GPUS & set(name.split(".")))


def test_our_sources_name_a_kind_of_gpu_in_one_place() -> None:
    naming = {str(path.relative_to(_ROOT)) for path in _SOURCES if any(_kinds_named(path.read_text(encoding="utf-8")))}
    # The others say what a process computes on without importing PyTorch.
    assert naming == {"src/captionloop/device.py", "src/captionloop/settings.py", "jobs/queue/presence.py"}


@pytest.mark.parametrize(
    "line",
    [
        "torch.cuda.synchronize()",
        "torch.backends.mps.is_available()",
        "model.cuda()",
        "pixels.to('cuda')",
        "torch.zeros(3, device='xpu:1')",
        "from torch import cuda",
        "from torch.cuda import amp",
        "import torch.mps as gpu",
        "with torch.autocast('cuda'): pass",
    ],
)
def test_a_line_that_does_is_seen(line: str) -> None:
    assert list(_kinds_named(line))
