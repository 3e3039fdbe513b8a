"""Ways to damage files."""

from pathlib import Path
from typing import Literal, get_args

Damage = Literal["truncated", "bit flipped", "emptied", "missing"]
DAMAGES: tuple[Damage, ...] = get_args(Damage)


def damage(file: Path, how: Damage) -> None:
    data = bytearray(file.read_bytes())
    if how == "missing":
        file.unlink()
        return
    if how == "bit flipped":
        data[-1] ^= 1  # in the weights, whose value no parser questions
    else:
        del data[len(data) // 2 if how == "truncated" else 0 :]
    file.write_bytes(data)
