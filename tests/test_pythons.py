"""The Pythons that Captionloop runs on, named in several places; and what each would install."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from captionloop.backend.local.label_studio_install import OVERRIDES
from captionloop.backend.local.uv import as_pip
from captionloop.settings import LABEL_STUDIO_VERSION

_ROOT = Path(__file__).parent.parent
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
_PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
# Of what Label Studio needs, these have only a source package, and nothing in it that wants a compiler.
_OF_PLAIN_PYTHON = ["attr", "django-ranged-fileresponse", "drf-flex-fields", "drf-generators", "ordered-set"]


def test_the_package_names_the_pythons() -> None:
    said = {line.rpartition(" :: ")[2] for line in _PROJECT["classifiers"] if " :: Python :: 3." in line}
    assert sorted(said) == _PYTHONS
    assert all(SpecifierSet(_PROJECT["requires-python"]).contains(python) for python in _PYTHONS)
    assert not SpecifierSet(_PROJECT["requires-python"]).contains("3.10")


@pytest.mark.parametrize("name", ["README.md", "Makefile", "docs/install.md"])
def test_the_documents_name_the_same_pythons(name: str) -> None:
    assert f"Python {_PYTHONS[0]} to {_PYTHONS[-1]}" in (_ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(("minor", "code"), [(10, 1), (11, 0), (14, 0), (15, 1)])
def test_make_refuses_others_at_once(minor: int, code: int) -> None:
    check = re.search(r"\$\(PYTHON\) -c 'import sys; ([^']+)'", (_ROOT / "Makefile").read_text(encoding="utf-8"))
    assert check
    program = f"import sys; sys.version_info = (3, {minor}, 0); {check[1]}"
    assert subprocess.run([sys.executable, "-c", program]).returncode == code


@pytest.mark.slow
class TestWithoutACompiler:
    """Asked of the package index: it would be installed from wheels alone."""

    @pytest.mark.parametrize("python", _PYTHONS)
    def test_everything_of_ours_can_be_installed(self, python: str) -> None:
        _resolve("--only-binary", ":all:", "--extra", "postgres", "pyproject.toml", python=python)

    def test_label_studio_can_be_installed_on_the_newest_python(self, tmp_path: Path) -> None:
        wanted, override = tmp_path / "wanted.txt", tmp_path / "override.txt"
        wanted.write_text(f"label-studio=={LABEL_STUDIO_VERSION}")
        override.write_text("\n".join(OVERRIDES))
        plain = [word for name in _OF_PLAIN_PYTHON for word in ("--no-binary", name)]
        _resolve("--only-binary", ":all:", *plain, "--override", str(override), str(wanted), python=_PYTHONS[-1])


def _resolve(*arguments: str, python: str) -> None:
    """Have uv find out what would be installed, from the index that pip is set up with."""
    command = (Path(sys.executable).with_name("uv"), "pip", "compile", "--quiet", "--python-version", python)
    told = subprocess.run((sys.executable, "-m", "pip", "config", "list"), capture_output=True, text=True, check=True)
    variables = as_pip(told.stdout, os.environ)
    assert variables is not None
    resolved = subprocess.run(
        (*command, *arguments), env={**os.environ, **variables}, cwd=_ROOT, capture_output=True, text=True
    )
    if "error sending request for url" in resolved.stderr:
        pytest.skip(f"the package index cannot be reached: {resolved.stderr.strip().splitlines()[-1]}")
    assert resolved.returncode == 0, resolved.stderr
