"""The machine's own rates."""

from dataclasses import replace

import pytest
import torch
from tests.support.machine import multiply_small_matrices

from captionloop.backend.bench.machine import Machine, look_at_machine
from captionloop.backend.bench.report import machine_text

WITHOUT_BF16 = Machine(
    name="a processor, 2 cores", bf16_unit=None, fp32=1.2e11, bf16=None, memory=1e10, load=0.0, torch="2.13.0"
)
WITH_BF16 = replace(WITHOUT_BF16, bf16_unit="AVX-512", bf16=4e11)


def test_a_machine_that_does_not_multiply_in_bf16_is_not_measured_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    multiply_small_matrices(monkeypatch)
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)

    machine = look_at_machine(torch.device("cpu"))

    assert (machine.bf16_unit, machine.bf16) == (None, None)
    assert machine.fp32 > 0


def test_shares_are_of_the_rate_of_what_we_compute_in() -> None:
    assert (WITH_BF16.products, WITH_BF16.bytes_each) == (4e11, 2)
    assert (WITHOUT_BF16.products, WITHOUT_BF16.bytes_each) == (1.2e11, 4)


def test_the_report_says_what_multiplies_in_bf16() -> None:
    assert "120 GFLOP/s in fp32 and 400 in bf16 (AVX-512);" in machine_text(WITH_BF16)
    assert "120 GFLOP/s in fp32, bf16 not at all;" in machine_text(WITHOUT_BF16)
