"""Pictures small enough to lie in an address."""

import base64
import io

from PIL import Image


def picture(colour: str) -> str:
    """A PNG of one colour as a `data:` address."""
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
