"""Which pieces a tokenizer lacks for people's captions: characters, words, their stems and endings, frequent parts.

What matters is that a caption becomes a few pieces that recur: a word, or a stem and an ending, is learnt from some
dozens of captions, single letters are not (docs/training.md). Each character is there as well, for words that come
later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from captionloop.model.captions.scripts import has_no_spaces, is_japanese_or_chinese
from captionloop.model.captions.text import is_mark, normalise_caption
from captionloop.model.vocabulary.endings import stems_and_endings
from captionloop.model.vocabulary.units import units
from captionloop.model.vocabulary.wordpiece import INSIDE, LONGEST_WORD

MOST = 8_000  # new pieces beside single characters

_FEWEST = 2  # times that a piece has to be of use
_LONGEST_PART = 12  # characters
_BEGIN = "\u2581"  # before each word, where frequent parts are looked for


def missing_pieces(backend: Tokenizer, captions: Iterable[str]) -> list[str]:
    """New pieces for the captions: characters first, then the others, those of most use before the rest.

    Equal captions give equal pieces, on each machine and in each process.

    Args:
        backend: of a tokenizer that `wordpiece` made, which loses no character.
        captions: what people wrote.
    """
    words = words_of(backend, captions)
    known = backend.get_vocab(with_added_tokens=True)
    single = [piece for piece in _characters(words) if piece not in known]
    broken = {word: count for word, count in words.items() if not _is_whole(backend, word)}
    written = {*known, *single}
    use = _use(broken, {*written, *_candidates(broken)})
    fresh = [piece for piece in use if piece not in written]
    return single + sorted(fresh, key=lambda piece: (-use[piece], piece))[:MOST]


def words_of(backend: Tokenizer, captions: Iterable[str]) -> Counter[str]:
    """What the tokenizer looks for pieces in, runs without a space or a mark, and how often each comes."""
    return Counter(
        word
        for caption in captions
        for word, _ in backend.pre_tokenizer.pre_tokenize_str(
            backend.normalizer.normalize_str(normalise_caption(caption))
        )
    )


def _characters(words: Collection[str]) -> Iterator[str]:
    """Each character, and each that words have as what goes on within one."""
    for character in sorted({character for word in words for character in word}):
        yield character
        if not is_mark(character):
            yield INSIDE + character


def _is_whole(backend: Tokenizer, word: str) -> bool:
    """Whether a word is one piece already."""
    pieces = [token.value for token in backend.model.tokenize(word)]
    return len(pieces) == 1 and backend.model.unk_token not in pieces


def _candidates(words: Mapping[str, int]) -> Iterator[str]:
    """Pieces that words might be made of."""
    spaced = {word: count for word, count in words.items() if not any(map(has_no_spaces, word))}
    unspaced = {word: count for word, count in words.items() if word not in spaced}
    yield from _words_and_endings(spaced)
    yield from _units({run: count for run, count in unspaced.items() if any(map(is_japanese_or_chinese, run))})
    yield from _frequent_parts([run for run in unspaced if not any(map(is_japanese_or_chinese, run))])


def _words_and_endings(words: Collection[str]) -> Iterator[str]:
    cuts = stems_and_endings(words)
    for word in words:
        stem, ending = cuts.get(word, (word, ""))
        yield stem
        if ending:
            yield INSIDE + ending


def _units(runs: Mapping[str, int]) -> Iterator[str]:
    for first, *others in units(runs).values():
        yield first
        yield from (INSIDE + unit for unit in others)


def _frequent_parts(words: Collection[str]) -> Iterator[str]:
    """Parts that several runs have, by byte-pair encoding.

    The library's own WordPiece trainer is the same with another way to mark where words begin, but for one thing: it
    comes to other pieces each time, as its ties are decided by the order of a hash table.
    """
    if not words:
        return
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=MOST, min_frequency=_FEWEST, max_token_length=_LONGEST_PART, show_progress=False
    )
    tokenizer.train_from_iterator((_BEGIN + word for word in sorted(words)), trainer)
    for part in tokenizer.get_vocab():
        if part != _BEGIN:
            yield part.removeprefix(_BEGIN) if part.startswith(_BEGIN) else INSIDE + part


def _use(words: Mapping[str, int], pieces: Collection[str]) -> Counter[str]:
    """How often each piece comes in words that are written with these pieces."""
    vocabulary = {"[UNK]": 0} | {piece: index for index, piece in enumerate(sorted(pieces), start=1)}
    model = models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=LONGEST_WORD)  # noqa: S106
    use: Counter[str] = Counter()
    for word, count in words.items():
        for token in model.tokenize(word):
            use[token.value] += count
    return use
