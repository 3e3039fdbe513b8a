"""An extended tokenizer writes more than the old one, and everything else as that does."""

from pathlib import Path

import pytest
from tests.model.captioning.published_layout import bert_tokenizer
from tokenizers import Tokenizer, models
from transformers import AutoTokenizer, BertTokenizer, BlipProcessor, PreTrainedTokenizerFast

from captionloop.errors import CheckpointError
from captionloop.model.blip.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from captionloop.model.captions.text import decode_caption, encode_caption, is_representable
from captionloop.model.vocabulary.wordpiece import extended_tokenizer, first_added_id, is_extensible

OLD = bert_tokenizer()
START = len(OLD)  # as published: [DEC] and [ENC] come behind the tokenizer's last word
SIZE = START + 2


def spelling(text: str) -> list[str]:
    """A word as its letters."""
    return [*dict.fromkeys([*text, *(f"##{character}" for character in text)])]


def extended(*pieces: str, old: PreTrainedTokenizerFast = OLD) -> PreTrainedTokenizerFast:
    return extended_tokenizer(old, pieces, size=SIZE, start_id=START)


def test_the_old_tokens_keep_their_ids_and_new_ones_follow_behind_all_that_the_model_has() -> None:
    tokenizer = extended("кот", "ё")
    vocabulary = tokenizer.get_vocab()
    assert vocabulary.items() >= OLD.get_vocab().items()
    assert (vocabulary["кот"], vocabulary["ё"]) == (SIZE, SIZE + 1)
    assert first_added_id(tokenizer) == SIZE


def test_what_the_model_has_beyond_its_tokenizer_gets_its_names_and_counts() -> None:
    tokenizer = extended("кот")
    assert tokenizer.convert_ids_to_tokens([START, START + 1]) == ["[DEC]", "[ENC]"]
    assert tokenizer.bos_token == "[DEC]"
    assert len(tokenizer) == SIZE + 1 == 1 + max(tokenizer.get_vocab().values())


def test_a_longer_gap_is_filled_as_well() -> None:
    tokenizer = extended_tokenizer(OLD, ["кот"], size=START + 5, start_id=START)
    assert len(tokenizer) == START + 6
    assert tokenizer.convert_ids_to_tokens(START + 4) == f"[unused{START + 4}]"


def test_nobody_can_write_a_token_without_a_letter_and_nobody_reads_one() -> None:
    tokenizer = extended(*spelling("кот"))
    ids = encode_caption(tokenizer, "кот [DEC] [ENC]")
    assert not {START, START + 1} & set(ids)
    assert decode_caption(tokenizer, [START, START + 1, *encode_caption(tokenizer, "кот")]) == "кот"


def test_english_is_written_with_the_same_tokens() -> None:
    tokenizer = extended("кот", *spelling("é"))
    for caption in ("A woman's t-shirt: light-blue, 50%!", "don't look at the STOP sign", "a xylophone (two)"):
        assert encode_caption(tokenizer, caption) == encode_caption(OLD, caption)


@pytest.mark.parametrize(
    ("caption", "read"),
    [
        ("Café", "café"),
        ("ΟΔΟΣ, ΟΔΟΣ", "οδος, οδος"),
        ("σοφός", "σοφός"),
        ("İki köpek", "iki köpek"),
        ("straße STRASSE", "straße strasse"),
        ("سگی می\u200cدود", "سگی می\u200cدود"),
        ("ශ්\u200dරී", "ශ්\u200dරී"),
        ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
        ("स\u093cफ\u093cेद", "स\u093cफ\u093cेद"),
        ("Tie\u0302\u0301ng Vie\u0323\u0302t", "tiếng việt"),
        ("١٠:١٥", "١٠:١٥"),
        ("ก" * 300, "ก" * 300),
    ],
)
def test_nothing_but_capitals_is_lost(caption: str, read: str) -> None:
    tokenizer = extended(*[piece for piece in spelling(read.replace(" ", "")) if piece not in OLD.get_vocab()])
    assert decode_caption(tokenizer, encode_caption(tokenizer, caption)) == read
    assert is_representable(tokenizer, caption)


def test_units_go_across_characters_that_have_no_space_between_them() -> None:
    tokenizer = extended("红色", "##的", "##汽车")
    ids = encode_caption(tokenizer, "红色的汽车")
    assert tokenizer.convert_ids_to_tokens(ids) == ["红色", "##的", "##汽车"]
    assert decode_caption(tokenizer, ids) == "红色的汽车"


def test_a_tokenizer_with_capitals_keeps_them() -> None:
    cased = BertTokenizer(vocab=OLD.get_vocab() | {"Rot": START}, do_lower_case=False)
    tokenizer = extended_tokenizer(cased, ["Äpfel"], size=START + 1, start_id=0)
    assert tokenizer.tokenize("Rot Äpfel") == ["Rot", "Äpfel"]


def test_an_extended_one_is_extended_further() -> None:
    once = extended("кот")
    twice = extended_tokenizer(once, ["дом"], size=SIZE + 1, start_id=START)
    assert twice.get_vocab() == once.get_vocab() | {"дом": SIZE + 1}
    assert first_added_id(twice) == SIZE
    assert (twice.bos_token, set(twice.all_special_ids)) == ("[DEC]", set(once.all_special_ids))


def test_plain_transformers_loads_it(tmp_path: Path) -> None:
    starter = load_checkpoint("starter")
    text = starter.model.config.text_config
    tokenizer = extended_tokenizer(starter.tokenizer, ["café"], size=text.vocab_size, start_id=text.bos_token_id)
    save_checkpoint(Checkpoint(starter.model, tokenizer, starter.image_processor, ""), tmp_path)

    for loaded in (AutoTokenizer.from_pretrained(tmp_path), BlipProcessor.from_pretrained(tmp_path).tokenizer):
        assert loaded.get_vocab() == tokenizer.get_vocab()
        assert len(loaded) == len(tokenizer)
        assert loaded("Café", return_tensors="pt").keys() == {"input_ids", "attention_mask"}
        assert loaded.decode(loaded("A red Café")["input_ids"], skip_special_tokens=True) == "a red café"
        assert first_added_id(loaded) == text.vocab_size


def test_other_kinds_of_tokenizers_are_left_alone() -> None:
    other = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))
    assert not is_extensible(other)
    with pytest.raises(CheckpointError, match="cannot get new words"):
        extended_tokenizer(other, ["кот"], size=10, start_id=1)
