"""Writes tests/data/java_tokens.json with the Java tool: `python -m tests.model.captions.make_java_tokens`."""

import json
from pathlib import Path

from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer
from tests.model.captions.odd_captions import PIECES, odd_captions

if __name__ == "__main__":
    captions = [*PIECES, *odd_captions(600, seed=1)]
    tokens = PTBTokenizer().tokenize({str(index): [{"caption": caption}] for index, caption in enumerate(captions)})
    pairs = [[caption, tokens[str(index)][0]] for index, caption in enumerate(captions)]
    path = Path(__file__).parents[2] / "data" / "java_tokens.json"
    path.write_text(json.dumps(pairs, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
