"""What is published: the source distribution, the wheel, and an installation that has nothing else of ours."""

import json
import os
import random
import re
import shutil
import site
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from captionloop.backend.cli import cli
from captionloop.backend.local.ports import free_port
from captionloop.model.starter.folder import draw_folder
from captionloop.model.starter.scenes import caption, draw, random_scene
from tests.support.processes import until

pytestmark = pytest.mark.slow

_ROOT = Path(__file__).parent.parent
_SOURCES = ("src", "backend", "jobs", "model")
_AROUND = ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")
_NOT_PUBLISHED = ("tests", "benchmarks", "tools")


@dataclass(frozen=True)
class Published:
    """A source distribution, and the wheel that comes of it."""

    sdist: Path
    wheel: Path


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of ours in which nothing has been built yet."""
    copy = tmp_path_factory.mktemp("checkout") / "captionloop"
    left = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in (*_SOURCES, *_NOT_PUBLISHED):
        shutil.copytree(_ROOT / folder, copy / folder, symlinks=True, ignore=left)
    for file in _AROUND:
        shutil.copy(_ROOT / file, copy)
    return copy


def _build(source: Path, out: Path, *only: str) -> None:
    command = [sys.executable, "-m", "build", "--no-isolation", *only, "--outdir", str(out), str(source)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="module")
def published(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Published:
    out = tmp_path_factory.mktemp("published")
    _build(checkout, out)
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return Published(sdist, wheel)


def _in_wheel(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as file:
        return set(file.namelist())


def _in_sdist(sdist: Path) -> set[str]:
    """Relative to the folder that it unpacks to."""
    with tarfile.open(sdist) as file:
        return {member.name.partition("/")[2] for member in file.getmembers() if member.isfile()}


def _files_of_ours() -> set[str]:
    """By the paths of an installation. README files are for those who read the code."""
    found = set()
    for folder in _SOURCES:
        base = _ROOT / "src" if folder == "src" else _ROOT / folder
        prefix = Path() if folder == "src" else Path("captionloop") / folder
        for path in base.rglob("*"):
            inside = path.relative_to(base)
            is_left = "__pycache__" in inside.parts or any(part.endswith(".egg-info") for part in inside.parts)
            if path.is_file() and not is_left and path.name != "README.md":
                found.add((prefix / inside).as_posix())
    return found


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(published: Published) -> None:
    names = {name for name in _in_wheel(published.wheel) if ".dist-info/" not in name}
    assert names == _files_of_ours()


def test_the_source_distribution_holds_the_same_and_what_builds_it(published: Published) -> None:
    names = _in_sdist(published.sdist)
    ours = {name.removeprefix("src/") for name in names if name.startswith("src/captionloop/")}
    around = {name for name in names if not name.startswith("src/")}
    assert ours >= _files_of_ours()
    assert around == {*_AROUND, "PKG-INFO", "setup.cfg"}


def test_the_wheel_of_the_checkout_is_that_of_the_source_distribution(
    checkout: Path, published: Published, tmp_path: Path
) -> None:
    _build(checkout, tmp_path, "--wheel")
    (wheel,) = tmp_path.glob("*.whl")
    assert _in_wheel(wheel) == _in_wheel(published.wheel)


@pytest.fixture(scope="module")
def installed(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a virtual environment that holds the wheel alone, and finds what it depends on in ours.

    A path file adds our packages without reading theirs, of which one is that of the editable installation.
    """
    venv = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(venv / "bin" / "python"), "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(published.wheel)], check=True)
    (packages,) = venv.glob("lib/python*/site-packages")
    packages.joinpath("dependencies.pth").write_text("\n".join(site.getsitepackages()))
    return venv / "bin"


def _said_by(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_installed_is_the_wheel(installed: Path) -> None:
    place = _said_by(installed / "python", "-c", "import captionloop.model as model; print(model.__file__)")
    assert Path(place).is_relative_to(installed.parent)


def test_the_command_is_there_with_all_of_its_commands(installed: Path) -> None:
    said = _said_by(installed / "captionloop", "--help")
    assert all(re.search(rf"^  {name} ", said, re.MULTILINE) for name in cli.commands)


def test_a_picture_is_captioned(installed: Path, tmp_path: Path) -> None:
    scene = random_scene(random.Random(1))
    draw(scene, seed=1).save(tmp_path / "scene.png")
    (captioned,) = json.loads(_said_by(installed / "captionloop", "caption", "scene.png", "--json"))
    assert captioned["caption"] == caption(scene)


def test_three_commands_lead_from_a_folder_to_captions(installed: Path) -> None:
    draw_folder(Path("photos"), 8)
    draw_folder(Path("others"), 2, series="others")
    captionloop = installed / "captionloop"
    said = _said_by(captionloop, "train", "photos", "--out", "my-blip", "--set", "steps=2")
    _said_by(captionloop, "caption", "others", "--model", "my-blip", "--out", "captions.jsonl")
    _said_by(captionloop, "compare", "starter", "my-blip", "--dataset", "photos", "--html", "comparison.html")

    assert "captionloop up --model my-blip" in said
    assert len(Path("captions.jsonl").read_text().splitlines()) == 2
    assert "data:image/jpeg" in Path("comparison.html").read_text()


def test_the_same_is_done_from_python(installed: Path) -> None:
    draw_folder(Path("photos"), 8)
    program = (
        "import captionloop as cl\n"
        "data = cl.load_dataset('photos')\n"
        "better = cl.finetune(cl.load_model('starter'), data, steps=2)\n"
        "print(cl.compare(cl.load_model('starter'), better, data.held_out))"
    )
    assert "CIDEr-D" in _said_by(installed / "python", "-c", program)


def test_pages_are_served_with_all_that_they_load(installed: Path, redis_url: str, tmp_path: Path) -> None:
    port = free_port()
    settings = {
        "CAPTIONLOOP_PORT": str(port), "CAPTIONLOOP_USER": "lead", "CAPTIONLOOP_PASSWORD": "right",
        "REDIS_URL": redis_url, "LABEL_STUDIO_URL": "http://localhost:9", "LABEL_STUDIO_API_KEY": "5" * 40,
    }  # fmt: skip
    with (
        (tmp_path / "serve.log").open("wb") as log,
        subprocess.Popen(
            [installed / "captionloop", "serve"], env=os.environ | settings, stdout=log, stderr=log
        ) as serve,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", follow_redirects=True, trust_env=False) as browser,
    ):
        try:
            until(lambda: _answers(browser))
            login = browser.get("/login").raise_for_status().text
            token, *_ = re.findall(r'name="csrf_token" value="([^"]+)"', login)
            start = browser.post("/login", data={"user": "lead", "password": "right", "csrf_token": token})
            static = re.findall(r'(?:href|src)="(/static/[^"]+)"', start.text)
            files = {address: browser.get(address).status_code for address in static}
        finally:
            serve.terminate()

    assert start.url.path == "/"
    assert "captionloop connect" in start.text  # the start page, as no project is connected
    assert files
    assert set(files.values()) == {200}


def _answers(browser: httpx.Client) -> bool:
    try:
        return browser.get("/health").is_success
    except httpx.TransportError:
        return False
