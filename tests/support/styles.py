"""A champion that knows several styles, which are told apart at a glance: each has capitals of its own."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from captionloop.model.blip.checkpoint import load_checkpoint, save_checkpoint
from captionloop.model.blip.generation_settings import GenerationSettings, TaughtStyle
from captionloop.model.captions.orthography import Case, Writing
from captionloop.model.database import Project, VersionState
from captionloop.model.versions.manifest import Lineage
from captionloop.model.versions.store import VersionStore
from captionloop.model.vocabulary.style_tokens import with_style_tokens

SHOUTED: Mapping[str, Case] = {"shouted": "upper"}


def serve_styles(
    store: VersionStore,
    project: Project,
    source: str,
    *,
    capitals: Mapping[str, Case] = SHOUTED,
    own: str | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> str:
    """Make a copy of a model champion that knows these styles beside that without a name, and writes `own`."""
    styles = {name: TaughtStyle(f"[style{at}]", Writing(case=case)) for at, (name, case) in enumerate(capitals.items())}
    generation = GenerationSettings(num_beams=1, min_length=3, max_length=9, styles=styles, style=own)

    def write(directory: Path) -> None:
        taught = with_style_tokens(load_checkpoint(source), [style.token for style in styles.values()])
        save_checkpoint(taught, directory / "made", generation=generation)
        shutil.copytree(directory / "made", directory, dirs_exist_ok=True)
        shutil.rmtree(directory / "made")

    lineage = Lineage(
        parent=store.champion(project.id).version, snapshot="", corrections=1, settings={},
        metrics=dict(metrics or {}), reason="",
        state=VersionState.CANDIDATE,
    )  # fmt: skip
    version = store.create(project.id, write, lineage=lineage, generation=generation)
    store.promote(project.id, version, reason="test")
    return version
