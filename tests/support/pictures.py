"""Pictures small enough for a `data:` URL."""

import base64
import io

from PIL import Image

from captionloop.model.starter.scenes import Scene, draw


def picture(colour: str) -> str:
    """A PNG of one colour as a `data:` address."""
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def picture_of_scene(scene: Scene, *, seed: int, size: tuple[int, int] = (120, 90)) -> str:
    """A scene, drawn, as a PNG of 120 x 90 in a `data:` address."""
    buffer = io.BytesIO()
    draw(scene, seed=seed).resize(size).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
