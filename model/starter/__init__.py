"""The starter model: a small BLIP, trained from scratch on drawn scenes, which ships with the project."""

from pathlib import Path

STARTER_DIR: Path = Path(__file__).resolve().parent / "weights"
STARTER_NOTICE = (
    "a starter model that knows only our drawn scenes; "
    "use `--model Salesforce/blip-image-captioning-base` for photographs"
)
