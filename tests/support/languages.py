"""Captions in many languages, a file each, as people who speak them would write them."""

from pathlib import Path

_DIRECTORY = Path(__file__).parents[1] / "data" / "captions"
LANGUAGES = sorted(path.stem for path in _DIRECTORY.glob("*.txt"))

# One language for each script that has 40 captions.
BY_SCRIPT = {
    "Latin": "de", "Latin with two accents": "vi", "Cyrillic": "ru", "Greek": "el", "Arabic": "fa", "Hebrew": "he",
    "Devanagari": "hi", "Bengali": "bn", "Gujarati": "gu", "Tamil": "ta", "Telugu": "te", "Thai": "th",
    "Georgian": "ka", "Armenian": "hy", "Hangul": "ko", "Han": "zh", "Kana": "ja",
}  # fmt: skip


def captions(language: str) -> list[str]:
    return (_DIRECTORY / f"{language}.txt").read_text(encoding="utf-8").splitlines()
