"""An operator that PyTorch dropped or changed costs time, and the log says so; captions and gradients stay."""

import ast
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from captionloop import private_operators
from captionloop.model.captioning import packed_linear
from captionloop.model.captioning.packed_linear import packed
from captionloop.model.training.encoder import encode_images
from captionloop.private_operators import pack_for_cpu, softmax_backward
from tests.model.captioning.test_same_captions import assert_same, model_of, pixels

_ROOT = Path(__file__).parent.parent
_MODULE = "src/captionloop/private_operators.py"
_SOURCES = [path for folder in ("backend", "jobs", "model", "src") for path in (_ROOT / folder).rglob("*.py")]

with_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this PyTorch has no oneDNN")


@pytest.fixture(autouse=True)
def looked_up_anew() -> Iterator[None]:
    for look_up in (pack_for_cpu, softmax_backward):
        look_up.cache_clear()
    yield
    for look_up in (pack_for_cpu, softmax_backward):
        look_up.cache_clear()


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, private_operators.__name__)
    return lambda: [record.getMessage() for record in caplog.records if record.name == private_operators.__name__]


_REAL = torch.ops.mkldnn


def _with(**operators: Any) -> SimpleNamespace:
    """oneDNN's operators, some of them others; None is missing."""
    names = ("_reorder_linear_weight", "_linear_pointwise", "_is_mkldnn_bf16_supported")
    there = {name: getattr(_REAL, name, None) for name in names} | operators
    return SimpleNamespace(**{name: operator for name, operator in there.items() if operator is not None})


def _takes_no_list(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return functional.linear(inputs, weight, bias)


BROKEN_PACKING = {
    "all gone": (SimpleNamespace(), "AttributeError"),
    "one gone": (_with(_reorder_linear_weight=None), "AttributeError"),
    "other arguments": (_with(_linear_pointwise=_takes_no_list), "TypeError"),
    "no kernel": (_with(_linear_pointwise=lambda *_: torch.ones(1).view(2)), "RuntimeError"),
    "another answer": (_with(_linear_pointwise=lambda *a: _REAL._linear_pointwise(*a) + 1), "answers otherwise"),
    "another shape": (_with(_linear_pointwise=lambda *a: _REAL._linear_pointwise(*a)[..., :3]), "RuntimeError"),
    "another type": (_with(_linear_pointwise=lambda *a: _REAL._linear_pointwise(*a).double()), "answers otherwise"),
    "no numbers": (_with(_linear_pointwise=lambda *a: _REAL._linear_pointwise(*a) / 0), "answers otherwise"),
}


@with_onednn
def test_with_this_pytorch_all_are_there_and_nothing_is_said(warnings: Callable[[], list[str]]) -> None:
    assert pack_for_cpu(torch.float32) is not None
    assert softmax_backward() is not private_operators._plain_softmax_backward
    assert warnings() == []


@pytest.mark.parametrize(("operators", "reason"), BROKEN_PACKING.values(), ids=BROKEN_PACKING.keys())
@with_onednn
def test_packed_matrices_that_do_not_work_are_left_and_that_is_said_once(
    operators: SimpleNamespace, reason: str, warnings: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.ops, "mkldnn", operators)
    monkeypatch.setattr(packed_linear, "_LARGE", 0)
    layers = [torch.nn.Linear(32, 48) for _ in range(3)]
    some = torch.randn(5, 32)

    found = [packed(layer, rows=24)(some) for layer in layers]

    torch.testing.assert_close(found, [layer(some) for layer in layers])
    (said,) = warnings()
    assert said.startswith(f"PyTorch {torch.__version__}: no packed matrices in torch.float32 (")
    assert reason in said
    assert said.endswith("; the plain way is taken, which is slower")


@with_onednn
def test_without_packed_matrices_every_token_is_that_of_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())
    monkeypatch.setattr(packed_linear, "_LARGE", 0)
    assert_same("base", {})
    assert pack_for_cpu(torch.float32) is None


def test_where_pytorch_has_no_onednn_nothing_is_missing(
    warnings: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert pack_for_cpu(torch.float32) is None
    assert warnings() == []


@with_onednn
def test_a_processor_without_bf16_is_no_fault(
    warnings: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.ops, "mkldnn", _with(_is_mkldnn_bf16_supported=lambda: False))
    assert pack_for_cpu(torch.bfloat16) is None
    assert warnings() == []


@with_onednn
def test_when_nobody_says_whether_it_has_bf16_that_is_said(
    warnings: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.ops, "mkldnn", _with(_is_mkldnn_bf16_supported=None))
    assert pack_for_cpu(torch.bfloat16) is None
    assert len(warnings()) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_rounds_as_the_plain_modules_do_passes(dtype: torch.dtype) -> None:
    def plain(weight: Tensor, bias: Tensor, rows: int) -> private_operators.Linear:
        return lambda inputs: functional.linear(inputs, weight, bias)

    assert private_operators._multiplies_as_linear(plain, dtype)


def test_trying_an_operator_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    pack_for_cpu(torch.float32)
    softmax_backward()
    assert torch.equal(torch.get_rng_state(), before)


# -- training ------------------------------------------------------------------------------------------------------

BROKEN_SOFTMAX = {
    "gone": (None, "AttributeError"),
    "other arguments": (lambda of_outcome, outcome: outcome, "TypeError"),
    "another answer": (lambda of_outcome, outcome, *_: of_outcome * outcome, "answers otherwise"),
}


@pytest.mark.parametrize(("operator", "reason"), BROKEN_SOFTMAX.values(), ids=BROKEN_SOFTMAX.keys())
def test_training_goes_the_plain_way_where_softmax_does_not_work(
    operator: Any, reason: str, warnings: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    if operator is None:
        monkeypatch.delattr(torch, "_softmax_backward_data")
    else:
        monkeypatch.setattr(torch, "_softmax_backward_data", operator)
    encoder, some = model_of("base").vision_model, next(pixels())[:2]
    gradients = []

    for output in (encoder(pixel_values=some).last_hidden_state, encode_images(encoder, some)):
        encoder.zero_grad()
        output.square().mean().backward()
        gradients.append([parameter.grad.clone() for parameter in encoder.parameters()])

    torch.testing.assert_close(*gradients)
    (said,) = warnings()
    assert "no softmax's backward pass (" in said
    assert reason in said


# -- nobody else calls one -------------------------------------------------------------------------------------------


def _private(source: str) -> Iterator[tuple[int, str]]:
    """Lines with `torch._x`, `torch.a._x`, `torch.ops`, or an import of such."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torch":
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [_dotted(node)]
        else:
            continue
        for name in names:
            first, *rest = name.split(".")
            if first == "torch" and any(map(_is_private, rest)):
                yield node.lineno, name


def _dotted(node: ast.expr) -> str:
    """`a.b.c` where it is a chain of names."""
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _is_private(part: str) -> bool:
    return part == "ops" or (part.startswith("_") and not part.startswith("__"))


def test_our_sources_call_pytorchs_private_names_in_one_place() -> None:
    calling = {str(path.relative_to(_ROOT)) for path in _SOURCES if any(_private(path.read_text(encoding="utf-8")))}
    assert calling == {_MODULE}


@pytest.mark.parametrize(
    "line",
    [
        "torch._C._has_mkldnn",
        "torch.cpu._is_amx_tile_supported()",
        "torch.ops.aten.add(a, b)",
        "from torch._dynamo import optimize",
        "from torch.utils import _pytree",
        "import torch._inductor.config as config",
    ],
)
def test_a_line_that_does_is_seen(line: str) -> None:
    assert list(_private(line))
