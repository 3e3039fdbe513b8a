"""`import captionloop` is quick and typed, and what it offers is what the documents say."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import captionloop
from captionloop.backend.python import exports
from captionloop.backend.python.finetuning import FinetuneOptions
from captionloop.model.training.settings import FinetuneSettings


def test_importing_it_imports_nothing_heavy() -> None:
    program = (
        "import sys, captionloop as cl\n"
        "assert 'load_dataset' in dir(cl)\n"
        "print(*sorted({'torch', 'transformers', 'numpy', 'PIL', 'tqdm', 'flask'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_each_export_is_there() -> None:
    assert sorted(captionloop.__all__) == sorted(["__version__", *exports.__all__])
    assert all(getattr(captionloop, name) is not None for name in captionloop.__all__)


def test_another_name_is_not() -> None:
    assert not hasattr(captionloop, "load_datasets")


def test_it_says_that_it_is_typed() -> None:
    assert (Path(captionloop.__file__).parent / "py.typed").is_file()


def test_every_setting_is_a_keyword_of_finetune() -> None:
    kinds = get_type_hints(FinetuneSettings)
    assert get_type_hints(FinetuneOptions) == {field.name: kinds[field.name] for field in fields(FinetuneSettings)}
