"""Loading a model by its source and the settings, without any project."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from captionloop.home import Home
from captionloop.model.blip.generation_settings import GenerationSettings
from captionloop.model.captioning.feature_cache import FeatureCache
from captionloop.model.versions.base import Base, name_and_generation

if TYPE_CHECKING:
    from captionloop.model.captioning.captioner import Captioner
    from captionloop.settings import Settings


def base_of(source: str, settings: Settings) -> Base:
    """A model, and how it captions if its directory does not say so."""
    return Base(source, GenerationSettings(num_beams=settings.beams, prompt=settings.prompt))


def feature_cache(settings: Settings) -> FeatureCache:
    """The cache of image features in the home directory."""
    return FeatureCache(settings.features or Home(settings.home).features, max_bytes=settings.features_gb * 10**9)


def named(
    source: str, settings: Settings, *, prompt: str | None = None, style: str | None = None
) -> tuple[str, GenerationSettings]:
    """A model's name, and how it captions.

    Args:
        prompt: what captions begin with; None: as the model's directory or the settings say.
        style: in which style; None: as the model's directory says. An empty one is the style without a name.

    Raises:
        CheckpointError: its directory is damaged, or it was not taught the style.
    """
    name, generation = name_and_generation(base_of(source, settings))
    if prompt is not None and prompt != generation.prompt:
        name, generation = f"{name} ({prompt!r})", replace(generation, prompt=prompt)
    if style is not None and (style or None) != generation.style:
        name, generation = f"{name} (style {style!r})", replace(generation, style=style or None)
    return name, generation


def load_captioner(
    source: str, settings: Settings, *, prompt: str | None = None, style: str | None = None
) -> Captioner:
    """Load a model; arguments as in `named`.

    Raises:
        CheckpointError: it cannot be loaded.
        SettingsError: CAPTIONLOOP_DEVICE names what is not here.
    """
    from captionloop.model.captioning.captioner import Captioner

    name, generation = named(source, settings, prompt=prompt, style=style)
    return Captioner.load(
        source,
        version=name,
        generation=generation,
        precision=settings.precision,
        device=settings.device,
        features=feature_cache(settings),
    )
