"""`README.md` in a version's directory: a model card in Hugging Face's format, ready for an upload to the hub.

The licence is left out: it depends on the base and the pictures, and is unknown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captionloop.model.blip.generation_settings import GenerationSettings

if TYPE_CHECKING:
    from captionloop.model.versions.manifest import Lineage

MODEL_CARD = "README.md"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")

# Names of the metrics, in the hub's terms where it has one.
_METRICS = {
    "bleu_1": ("bleu", "BLEU-1"),
    "bleu_2": ("bleu", "BLEU-2"),
    "bleu_3": ("bleu", "BLEU-3"),
    "bleu_4": ("bleu", "BLEU-4"),
    "rouge_l": ("rouge", "ROUGE-L"),
    "cider_d": ("cider", "CIDEr-D"),
    "meteor": ("meteor", "METEOR"),
    "exact_match": ("exact_match", "Exact match"),
    "word_edit_rate": ("wer", "Words to change, per reference word"),
}


def write_model_card(
    directory: Path, *, name: str, lineage: Lineage, generation: GenerationSettings, base: str
) -> None:
    """Write the card of a fine-tuned version.

    Args:
        directory: of the version.
        name: of the version.
        lineage: of the version.
        generation: its generation settings.
        base: source of the base it descends from: a hub id, a directory or "starter".
    """
    text = f"---\n{_front_matter(name, lineage, base)}\n---\n\n{_body(name, lineage, generation, base)}"
    (directory / MODEL_CARD).write_text(text, encoding="utf-8")


def _front_matter(name: str, lineage: Lineage, base: str) -> str:
    from huggingface_hub import EvalResult, ModelCardData  # takes a third of a second, and only a new version needs it

    results = [
        EvalResult(
            task_type="image-to-text",
            task_name="Image captioning",
            dataset_type="corrections",
            dataset_name=f"Held-out corrections of snapshot {lineage.snapshot[:12]}",
            dataset_split="held-out",
            metric_type=_METRICS[metric][0],
            metric_name=_METRICS[metric][1],
            metric_value=value,
        )
        for metric, value in _scores(lineage.metrics).items()
    ]
    data = ModelCardData(
        model_name=name,
        library_name="transformers",
        pipeline_tag="image-to-text",
        tags=["image-captioning", "blip", "captionloop"],
        base_model=base if _is_hub_id(base) else None,
        metrics=sorted({result.metric_type for result in results}) or None,
        eval_results=results or None,
    )
    return str(data.to_yaml()).strip()


def _scores(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(metrics[name]) for name in _METRICS if name in metrics}


def _is_hub_id(base: str) -> bool:
    """Whether it is a hub id: the hub refuses other bases. A directory may look like one (`models/blip`)."""
    return bool(_HUB_ID.fullmatch(base)) and not Path(base).is_dir()


def _body(name: str, lineage: Lineage, generation: GenerationSettings, base: str) -> str:
    return f"""# {name}

A BLIP image-captioning model, fine-tuned with Captionloop on {lineage.corrections} captions by people.

- Made from: `{lineage.parent}`. The first of its line: `{base if _is_hub_id(base) else Path(base).name}`.
- Dataset: snapshot `{lineage.snapshot}`.
- Verdict: {lineage.reason or "none."}

## Use

```python
from PIL import Image
from transformers import BlipForConditionalGeneration, BlipProcessor

processor = BlipProcessor.from_pretrained(".")  # this directory, or the id it was uploaded under
model = BlipForConditionalGeneration.from_pretrained(".")

{_call(generation)}
print(processor.decode(ids[0], skip_special_tokens=True))
```

{_notes(generation)}

{_styles(generation)}## Figures

{_figures(lineage.metrics)}

## Training

```json
{json.dumps(dict(lineage.settings), indent=2)}
```
"""


def _styles(generation: GenerationSettings) -> str:
    """What to ask for each style; nothing where there is only one."""
    if not generation.styles:
        return ""
    styles = [replace(generation, style=name) for name in (None, *generation.styles)]
    rows = "\n".join(f"| {_in_table(each.style)} | `{json.dumps(each.plain_prompt)}` |" for each in styles)
    return (
        "## Styles\n\nThe model writes in several styles. Which one is said by `text`, which leads the caption in; "
        f"decoding leaves the style's token out.\n\n| style | `text` |\n| --- | --- |\n{rows}\n\n"
    )


def _in_table(style: str | None) -> str:
    return "the first, which has no name" if style is None else style.replace("\\", "\\\\").replace("|", "\\|")


def _figures(metrics: Mapping[str, Any]) -> str:
    scores = _scores(metrics)
    if not scores:
        return "None were kept."
    rows = "\n".join(f"| {_METRICS[metric][1]} | {value:.4f} |" for metric, value in scores.items())
    return (
        f"On the held-out images of the snapshot{_number(metrics)}:\n\n| metric | value |\n| --- | ---: |\n{rows}\n\n"
        "BLEU, ROUGE-L and CIDEr-D are computed by pycocoevalcap. CIDEr-D (0 to 10) takes its document frequencies "
        "from all captions of the snapshot."
    )


def _number(metrics: Mapping[str, Any]) -> str:
    return f" ({metrics['images']} of them)" if "images" in metrics else ""


def _call(generation: GenerationSettings) -> str:
    text = f", text={json.dumps(generation.plain_prompt)}" if generation.plain_prompt else ""
    return (
        f'inputs = processor(images=Image.open("picture.jpg").convert("RGB"){text}, return_tensors="pt")\n'
        "ids = model.generate(**inputs, generation_config=model.generation_config)"
    )


def _notes(generation: GenerationSettings) -> str:
    notes = (
        "BLIP's tokenizer knows neither capitals nor the spaces around punctuation. Captionloop puts them back on by "
        "the rules in `captionloop.json` (`generation.writing`)."
    )
    if generation.styles:
        notes += " Each style has its own there (`generation.styles`)."
    if generation.prompt:
        notes += f" The prompt {json.dumps(generation.prompt)} is part of what is printed; Captionloop cuts it off."
    return notes
