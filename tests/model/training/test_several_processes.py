"""Two processes that train one model come to what one comes to, and end alike. Here on CPUs, joined by gloo."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import PartialState
from safetensors.torch import load_file, save_file
from tests.model.training.test_loop import UNREGULARISED
from tests.model.training.test_resume import STEPS, STOPPED_AFTER, every_step, trained

from captionloop.errors import RunError
from captionloop.jobs.processes.group import in_processes
from captionloop.model.training import loop
from captionloop.model.training.caption_targets import caption_loss
from captionloop.model.training.loop import FinetuneResult

pytestmark = pytest.mark.slow

EXACT: dict[str, Any] = {
    **UNREGULARISED,
    "ema": 0.5,
}  # nothing is drawn by chance, so that one process can be compared with two


def _kept(result: FinetuneResult, directory: Path) -> dict[str, Any]:
    if result.is_main:
        state = result.checkpoint.model.state_dict()
        directory.mkdir(exist_ok=True)
        save_file({name: tensor.clone() for name, tensor in state.items()}, directory / "weights.safetensors")
    return {"losses": list(result.losses), "best_step": result.best_step}


def _no_room_in_the_second(limit: int) -> None:
    """An allocator that has room for so many examples, in one of the processes."""
    loss_of = caption_loss

    def limited(logits: torch.Tensor, labels: torch.Tensor, **options: Any) -> torch.Tensor:
        if PartialState().process_index == 1 and len(labels) > limit:
            raise torch.OutOfMemoryError("no room")
        return loss_of(logits, labels, **options)

    vars(loop)["caption_loss"] = limited


RUSSIAN = ["красная машина", "две синие рыбы", "жёлтое солнце"]


def in_russian(directory: Path) -> FinetuneResult:
    """A run that adds words; only the main process can ask the model what it says itself."""

    def tell(images: Sequence[str]) -> dict[str, str]:
        assert PartialState().is_main_process
        return dict.fromkeys(images, "a red car")

    return trained(directory, captions=RUSSIAN, tell=tell, **EXACT)


def _ending(directory: Path, **how: Any) -> str:
    """What ends a run, after all processes came out of it: they meet to say so."""
    try:
        trained(directory, **how)
        ended = "no error"
    except RunError as error:
        ended = f"{type(error).__name__}: {error}"
    PartialState().wait_for_everyone()
    return ended


def runs_of_both(directory: Path) -> dict[str, Any]:
    """All runs in one go, as starting processes takes longest."""
    every_step(setattr)
    rank = PartialState().process_index
    # Were the second process to write anything, it would be here.
    directory /= f"rank {rank}" if rank else "main"
    found: dict[str, Any] = {
        "whole": _kept(trained(directory / "whole", **EXACT), directory / "whole"),
        "dropped out": _kept(trained(directory / "dropped out"), directory / "dropped out"),
        "new words": _kept(in_russian(directory / "new words"), directory / "new words"),
        "cancelled": _ending(directory / "parts", stop_after=STOPPED_AFTER),
    }
    if rank:  # the state is the main process's; on one machine both read it there
        (directory / "parts").mkdir(parents=True, exist_ok=True)
        state = directory.parent / "main" / "parts" / "state.safetensors"
        (directory / "parts" / "state.safetensors").symlink_to(state)
    found["resumed"] = _kept(trained(directory / "parts"), directory / "parts")
    _no_room_in_the_second(limit=1)
    found["halved"] = _kept(trained(directory / "halved", **EXACT), directory / "halved")
    _no_room_in_the_second(limit=0)
    found["no room"] = _ending(directory / "no room")
    return found


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("both")


@pytest.fixture(scope="module")
def both(directory: Path) -> dict[str, Any]:
    return in_processes(
        runs_of_both, directory, processes=2, device="cpu", scratch=directory / "scratch", log_level="warning"
    )


@pytest.fixture(autouse=True)
def at_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    every_step(monkeypatch.setattr)


def weights(directory: Path, name: str) -> dict[str, torch.Tensor]:
    return load_file(directory / "main" / name / "weights.safetensors")


def test_two_processes_end_with_the_weights_of_one(both: dict[str, Any], directory: Path, tmp_path: Path) -> None:
    one = trained(tmp_path, **EXACT)
    assert both["whole"]["losses"] == pytest.approx(one.losses, rel=1e-4)
    expected = one.checkpoint.model.state_dict()
    for name, found in weights(directory, "whole").items():
        if not name.endswith("key.bias"):  # a softmax does not feel it: its gradient is rounding, which Adam scales up
            torch.testing.assert_close(found, expected[name], rtol=1e-3, atol=1e-4, msg=name)


def test_two_processes_begin_new_words_alike(both: dict[str, Any], directory: Path, tmp_path: Path) -> None:
    one = in_russian(tmp_path)
    assert one.new_pieces > 0
    assert both["new words"]["losses"] == pytest.approx(one.losses, rel=1e-4)
    embedding = "text_decoder.bert.embeddings.word_embeddings.weight"
    expected = one.checkpoint.model.state_dict()[embedding]
    torch.testing.assert_close(weights(directory, "new words")[embedding], expected, rtol=1e-3, atol=1e-4)


def test_a_resumed_run_ends_with_the_same_weights_bit_for_bit(both: dict[str, Any], directory: Path) -> None:
    whole, resumed = weights(directory, "dropped out"), weights(directory, "parts")
    assert both["resumed"] == both["dropped out"]
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())


def test_a_cancel_that_one_hears_of_ends_both(both: dict[str, Any]) -> None:
    assert both["cancelled"].startswith(f"RunCancelled: The run was cancelled at step {STOPPED_AFTER} of {STEPS}")


def test_when_memory_runs_out_in_one_both_go_on_with_smaller_parts(both: dict[str, Any]) -> None:
    assert both["halved"]["losses"] == pytest.approx(both["whole"]["losses"], rel=1e-5)


def test_when_there_is_no_room_in_one_both_say_so(both: dict[str, Any]) -> None:
    assert both["no room"].startswith("RunError: There is not the memory to train on a single example")


def test_only_the_main_process_writes(both: dict[str, Any], directory: Path) -> None:
    written = {path.name for path in directory.rglob("*") if path.is_file() and not path.is_symlink()}
    elsewhere = [path for path in directory.glob("rank*/**/*") if path.is_file() and not path.is_symlink()]
    assert {"training_log.csv", "evaluations.jsonl", "state.safetensors"} <= written
    assert elsewhere == []
