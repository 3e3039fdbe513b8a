"""Reasons of failed jobs for people, for exceptions that are not our own."""

_MEMORY = (
    "Memory ran out{cause}. Start the run again with a smaller micro_batch_size or with gradient_checkpointing, "
    "or end what else needs memory on this machine."
)
# PyTorch's messages of a RuntimeError when the machine or the GPU is out of memory; the last one is oneDNN's.
_SIGNS_OF_FULL_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "Cannot allocate memory",
    "could not create a primitive",
)


def reason_of(error: Exception) -> str:
    """One or two sentences: what happened and, if known, the remedy."""
    said = str(error).strip().partition("\n")[0].rstrip(".")
    if isinstance(error, MemoryError) or any(sign in str(error) for sign in _SIGNS_OF_FULL_MEMORY):
        return _MEMORY.format(cause=f" ({said})" if said else "")
    if isinstance(error, OSError):
        return f"A file cannot be read or written ({said}). Look at its disk; then start the run again."
    return f"Unexpected {type(error).__name__}: {said}."
