import pytest

from captionloop.jobs.worker.failure_reasons import reason_of


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        RuntimeError("could not create a primitive"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_memory_that_ran_out_is_called_so_with_what_to_do(error: Exception) -> None:
    assert reason_of(error).startswith("Memory ran out")
    assert "smaller micro_batch_size" in reason_of(error)


def test_a_file_that_cannot_be_written_is_named() -> None:
    said = reason_of(OSError(28, "No space left on device", "/home/runs/r1/training_log.csv"))
    assert said.startswith("A file cannot be read or written ([Errno 28] No space left on device: '/home/runs/r1")


def test_anything_else_is_told_with_its_kind_and_first_line() -> None:
    assert reason_of(ValueError("odd\nand long")) == "Unexpected ValueError: odd."
