"""The Penn-Treebank tokeniser behind every published BLEU, ROUGE and CIDEr of captions, without Java.

`pycocoevalcap` pipes captions through Stanford CoreNLP 3.4.1 (`PTBTokenizer -preserveLines -lowerCase`) and drops
punctuation tokens. That tokeniser is a finite automaton which JFlex generated, and its tables lie as constants in a
class file of the jar that `pycocoevalcap` carries. We read the tables from there and run the automaton ourselves:
equal by construction, abbreviations and odd Unicode included, where a re-written set of patterns would be nearly equal.
The jar is data here; nothing in it is executed, and no part of it is in this repository.

What the Java tool does with a text therefore happens here too:

* captions are read as one stream with a line each, so a rule that looks ahead may see the next caption
  ("plan B." before a caption that starts with "The" loses its full stop);
* no American spelling (that is another switch), soft hyphens removed, "½" becomes "1/2", "€" becomes "$", "£" becomes
  "#", emoji and other unknown characters vanish;
* a space inside a token ("3 1/2", a phone number) becomes a no-break space.

One difference, on purpose: a carriage return or another line separator inside a caption is a space here. The Java tool
starts a new line at it, and every caption after that one gets its neighbour's tokens.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zipfile
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from captionloop.errors import SettingsError

# The tokens that pycocoevalcap.tokenizer.ptbtokenizer drops, in its order.
PUNCTUATION = frozenset(
    ["''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";"]
)

_JAR = "stanford-corenlp-3.4.1.jar"
_CLASS = "edu/stanford/nlp/process/PTBLexer.class"
# The meaning of the numbers below belongs to exactly this build of the lexer.
_CLASS_SHA256 = "715fdfb3652cc6796f90f28442378a0c71c92b5909f1fc934f698497987b6dd0"

_START_STATE = 2  # of the lexical state YyTraditionalTreebank3, the default
_FINAL, _NO_WAY_ON = 1, 8  # bits of a state's attribute: a token may end here; it must
_DEAD = -1

_LINE_BREAKS = re.compile("[\r\n\u2028\u2029\u000b\u000c]")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def tokenize(captions: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Tokenise captions of many images exactly as `pycocoevalcap.tokenizer.PTBTokenizer` does.

    Args:
        captions: image id → its captions. The order matters in rare cases (see the module's docstring).

    Returns:
        Image id → the captions as lower-case tokens joined by single spaces, punctuation removed.

    Raises:
        SettingsError: `pycocoevalcap` or its jar is missing, or is another version of it.
    """
    lines = [_LINE_BREAKS.sub(" ", caption) for texts in captions.values() for caption in texts]
    tokenized = iter(_tokenize_stream("\n".join(lines), lines=len(lines)))
    return {image: [" ".join(next(tokenized)) for _ in texts] for image, texts in captions.items()}


def tokenize_line(caption: str) -> list[str]:
    """The tokens of one caption on its own, lower case, punctuation removed."""
    return _tokenize_stream(_LINE_BREAKS.sub(" ", caption), lines=1)[0]


def _tokenize_stream(text: str, *, lines: int) -> list[list[str]]:
    rows: list[list[str]] = [[]]
    for token in _lex(_utf16(text), _automaton()):
        if token == "\n":  # noqa: S105 (a word of a caption)
            rows.append([])
        else:
            rows[-1].append(_from_utf16(token).lower())
    rows.extend([] for _ in range(lines - len(rows)))
    # As the original does it, in this order: stripping may cut a no-break space from the last token.
    stripped = (" ".join(row).rstrip() for row in rows)
    return [[token for token in row.split(" ") if token and token not in _LOWER_PUNCTUATION] for row in stripped]


# pycocoevalcap compares after lower-casing, so its own "-LRB-" never matches "-lrb-": brackets stay, as published
# scores have them.
_LOWER_PUNCTUATION = frozenset(token for token in PUNCTUATION if token == token.lower())


def _utf16(text: str) -> str:
    """One character per UTF-16 unit, which is what the automaton reads: an emoji becomes its two surrogates."""
    if text.isascii() or max(text, default="") <= "\uffff":
        return text
    return "".join(map(chr, array("H", text.encode("utf-16-le" if _LITTLE_ENDIAN else "utf-16-be", "surrogatepass"))))


_LITTLE_ENDIAN = array("H", b"\x01\x00")[0] == 1


def _from_utf16(token: str) -> str:
    if not _LONE_SURROGATE.search(token):
        return token
    joined = token.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return _LONE_SURROGATE.sub("?", joined)  # as Java's encoder writes half a pair


# --- the automaton -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Automaton:
    """JFlex's tables. From a state, a character's class leads to `transitions[rows[state] + classes[character]]`."""

    classes: bytes  # (65536,) character → class
    rows: array[int]  # (states,) offset of a state's row
    transitions: array[int]  # state, or -1
    attributes: bytes  # (states,) bits _FINAL and _NO_WAY_ON
    actions: bytes  # (states,) which rule a final state stands for

    def step(self, state: int, character: str) -> int:
        return self.transitions[self.rows[state] + self.classes[ord(character)]]

    def is_final(self, state: int) -> bool:
        return bool(self.attributes[state] & _FINAL)


def _lex(text: str, automaton: _Automaton) -> Iterator[str]:
    """Yield the tokens of a stream; a line break is the token "\\n"."""
    start = 0
    while start < len(text):
        action, end = _longest_match(text, start, automaton)
        end, token = _act(action, text, start, end, automaton)
        if token is not None:
            yield token
        start = end


def _longest_match(text: str, start: int, automaton: _Automaton) -> tuple[int, int]:
    """The rule that matches most characters from `start` on, and where its match ends."""
    classes, rows, transitions, attributes = (
        automaton.classes,
        automaton.rows,
        automaton.transitions,
        automaton.attributes,
    )
    state, final_state, end = _START_STATE, _DEAD, start
    for position in range(start, len(text)):
        state = transitions[rows[state] + classes[ord(text[position])]]
        if state == _DEAD:
            break
        if attributes[state] & _FINAL:
            final_state, end = state, position + 1
            if attributes[state] & _NO_WAY_ON:
                break
    if final_state == _DEAD:  # cannot happen: the last rule takes any one character
        return _UNTOKENIZABLE, start + 1
    return automaton.actions[final_state], end


def _split_context(
    text: str, start: int, end: int, automaton: _Automaton, *, token_state: int, context_state: int
) -> int:
    """Where a token ends whose rule also matched what must follow it (JFlex's general look-ahead).

    One automaton, run forwards from `token_state`, marks where the token could end; another, run backwards from
    `context_state`, finds the latest of those from which the rest is the context.
    """
    could_end = [False] * (end - start + 1)
    state, position = token_state, start
    while state != _DEAD and position < end:
        could_end[position - start] = automaton.is_final(state)
        state = automaton.step(state, text[position])
        position += 1
    if state != _DEAD:
        could_end[position - start] = automaton.is_final(state)

    state, position = context_state, end
    while not (could_end[position - start] and automaton.is_final(state)):
        position -= 1
        state = automaton.step(state, text[position])
    return position


# --- what each rule does with its match ----------------------------------------------------------------------------
# Rule numbers as JFlex gave them. 55 and above never occur as actions of a state.

_UNTOKENIZABLE = 1
_NEW_LINE = 5
_SKIPPED = frozenset({_UNTOKENIZABLE, 7, 23})  # unknown character, white space, delete character
_FIXED = {2: "<", 10: ">", 11: "--", 13: "...", 16: "-RCB-", 17: "-LRB-", 18: "-RRB-", 20: "-LCB-", 21: "-RSB-"} | {
    22: "-LSB-"
}
_HYPHENS = 4
_OPENING_QUOTE, _CLOSING_QUOTE = frozenset({26, 35}), frozenset({8, 36})
_WITHOUT_SOFT_HYPHENS = frozenset({6, 12, 29, 30, 32, 40, 46})
_FRACTION, _CURRENCY = 14, 15
_WITH_NO_BREAK_SPACE = frozenset({27, 38, 39, 54})
_WITH_NAMED_PARENTHESES = frozenset({28, 34, 54})
_AMPERSAND = frozenset({37, 51})
# The rules that look at characters behind their token and hand back this many of them.
_PUSH_BACK = {25: 1, 26: 1, 32: 1, 34: 1, 36: 1, 46: 1, 51: 1, 42: 2, 48: 2, 50: 3, 53: 4}
_FIRST_CHARACTER_ONLY = 35
# … or an unknown number of them: (state of the token's automaton, state of the context's).
_CONTEXT = {24: (13, 14), 30: (3, 4), 40: (5, 6), 41: (16, 17), 43: (15, 14), 44: (9, 10), 47: (7, 8), 49: (11, 12)}
_SPACE_TRIMMED = frozenset({44, 47})  # works round a JFlex bug, as the original does
_ACRONYM = 47
# The full stop of an abbreviation at the end of a sentence belongs to both: it comes again as a token.
_FULL_STOP_AGAIN = frozenset({33, _ACRONYM, 49})
_JAVA_SPACE = " \t\n\x0b\x0c\r\x85"


def _act(action: int, text: str, start: int, end: int, automaton: _Automaton) -> tuple[int, str | None]:
    """Apply a rule: where the lexer goes on, and the token, or None for a match that makes none."""
    if action in _SKIPPED:
        return end, None
    if action == _NEW_LINE:
        return end, "\n"
    if action in _FIXED:
        return end, _FIXED[action]
    end = _token_end(action, text, start, end, automaton)
    token = text[start:end]
    if action == _ACRONYM and len(token) == 2:  # "I." is the word and a full stop
        return end - 1, token[0]
    if action in _FULL_STOP_AGAIN:
        return end - 1, token
    return end, _normalise(action, token)


def _token_end(action: int, text: str, start: int, end: int, automaton: _Automaton) -> int:
    if action == _FIRST_CHARACTER_ONLY:
        return start + 1
    if action in _CONTEXT:
        token_state, context_state = _CONTEXT[action]
        end = _split_context(text, start, end, automaton, token_state=token_state, context_state=context_state)
    if action in _SPACE_TRIMMED:
        while end > start and text[end - 1] in _JAVA_SPACE:
            end -= 1
    return end - _PUSH_BACK.get(action, 0)


_FRACTIONS = str.maketrans({"¼": "1/4", "½": "1/2", "¾": "3/4", "⅓": "1/3", "⅔": "2/3"})
_CURRENCIES = str.maketrans({"¢": "cents", "£": "#", "\x80": "$", "¤": "$", "₠": "$", "€": "$"})
_PARENTHESES = str.maketrans({"(": "-LRB-", ")": "-RRB-"})
_AMP = re.compile("&amp;", re.IGNORECASE)
_SINGLE_QUOTE, _DOUBLE_QUOTE = re.compile("&apos;|'"), re.compile('"|&quot;')
_CURLY_QUOTES = str.maketrans(
    dict.fromkeys("\x91‘‛‹", "`") | dict.fromkeys("\x92’›", "'") | dict.fromkeys("\x93“«", "``")
    | dict.fromkeys("\x94”»", "''")
)  # fmt: skip


def _normalise(action: int, token: str) -> str:
    """A token's Penn-Treebank spelling."""
    if action in _WITHOUT_SOFT_HYPHENS:
        return token.replace("\xad", "") or "-"
    if action in _OPENING_QUOTE or action in _CLOSING_QUOTE:
        return _latex_quotes(token, opening=action in _OPENING_QUOTE)
    if action == _HYPHENS:
        return "--" if 3 <= len(token) <= 4 else token
    if action == _FRACTION:
        return token.translate(_FRACTIONS)
    if action == _CURRENCY:
        return token.translate(_CURRENCIES)
    if action in _AMPERSAND:
        return _AMP.sub("&", token)
    if action in _WITH_NO_BREAK_SPACE:
        token = token.replace(" ", "\xa0")
    if action in _WITH_NAMED_PARENTHESES:
        token = token.translate(_PARENTHESES)
    return token


def _latex_quotes(token: str, *, opening: bool) -> str:
    token = _SINGLE_QUOTE.sub("`" if opening else "'", token)
    token = _DOUBLE_QUOTE.sub("``" if opening else "''", token)
    return token.translate(_CURLY_QUOTES)


# --- reading the tables out of the class file ----------------------------------------------------------------------


@lru_cache(maxsize=1)
def _automaton() -> _Automaton:
    constants = _string_constants(_class_file())
    transitions = "".join(constants[f"ZZ_TRANS_PACKED_{part}"] for part in range(9))
    row_halves = list(map(ord, constants["ZZ_ROWMAP_PACKED_0"]))
    return _Automaton(
        classes=bytes(_run_lengths(constants["ZZ_CMAP_PACKED"])),
        rows=array("i", (high << 16 | low for high, low in zip(row_halves[::2], row_halves[1::2], strict=True))),
        transitions=array("i", (target - 1 for target in _run_lengths(transitions))),
        attributes=bytes(_run_lengths(constants["ZZ_ATTRIBUTE_PACKED_0"])),
        actions=bytes(_run_lengths(constants["ZZ_ACTION_PACKED_0"])),
    )


def _run_lengths(packed: str) -> list[int]:
    """Unpack JFlex's tables: pairs of a count and a value, each a character."""
    numbers = list(map(ord, packed))
    values: list[int] = []
    for count, value in zip(numbers[::2], numbers[1::2], strict=True):
        values.extend([value] * count)
    return values


def _class_file() -> bytes:
    """The bytes of the lexer's class, checked against the hash of the build that this module was written for."""
    package = find_spec("pycocoevalcap")
    folders = list(package.submodule_search_locations or ()) if package else []
    jar = next((path for folder in folders if (path := Path(folder, "tokenizer", _JAR)).is_file()), None)
    if jar is None:
        raise SettingsError(f"pycocoevalcap with its {_JAR} is not installed; run: pip install pycocoevalcap==1.2")
    with zipfile.ZipFile(jar) as archive:
        content = archive.read(_CLASS)
    if hashlib.sha256(content).hexdigest() != _CLASS_SHA256:
        raise SettingsError(f"{jar} is not Stanford CoreNLP 3.4.1; run: pip install pycocoevalcap==1.2")
    return content


# Bytes after the tag of each kind of constant (Java Virtual Machine Specification, table 4.4-A). A UTF-8 constant (1)
# has a length of its own; a long (5) and a double (6) take two places in the pool.
_CONSTANT_SIZES = {3: 4, 4: 4, 5: 8, 6: 8, 7: 2, 8: 2, 9: 4, 10: 4, 11: 4, 12: 4, 15: 3, 16: 2, 18: 4}
_UTF8, _STRING = 1, 8
_TWO_PLACES = frozenset({5, 6})


def _string_constants(content: bytes) -> dict[str, str]:
    """The `static final String` fields of a class file, by name (JVM specification, chapter 4)."""
    pool, position = _constant_pool(content)
    position += 6  # access flags, this class, its superclass
    (interfaces,) = struct.unpack_from(">H", content, position)
    position += 2 + 2 * interfaces
    (fields,) = struct.unpack_from(">H", content, position)
    position += 2
    constants: dict[str, str] = {}
    for _ in range(fields):
        _, name, _, attributes = struct.unpack_from(">4H", content, position)
        position += 8
        for _ in range(attributes):
            kind, size = struct.unpack_from(">HI", content, position)
            if pool[kind] == b"ConstantValue":
                (index,) = struct.unpack_from(">H", content, position + 6)
                value = pool[index]
                if isinstance(value, int):  # a string constant points to its text
                    constants[_java_text(pool[name])] = _java_text(pool[value])
            position += 6 + size
    return constants


def _constant_pool(content: bytes) -> tuple[list[bytes | int | None], int]:
    """Texts as bytes, string constants as the index of their text, None for the rest; and where the pool ends."""
    (size,) = struct.unpack_from(">H", content, 8)
    pool: list[bytes | int | None] = [None]
    position = 10
    while len(pool) < size:
        tag = content[position]
        position += 1
        if tag == _UTF8:
            (length,) = struct.unpack_from(">H", content, position)
            pool.append(content[position + 2 : position + 2 + length])
            position += 2 + length
            continue
        pool.append(struct.unpack_from(">H", content, position)[0] if tag == _STRING else None)
        if tag in _TWO_PLACES:
            pool.append(None)
        position += _CONSTANT_SIZES[tag]
    return pool, position


def _java_text(encoded: bytes | int | None) -> str:
    """Java's modified UTF-8: NUL takes two bytes, so that no zero byte appears."""
    if not isinstance(encoded, bytes):
        raise SettingsError(f"the constant pool of {_CLASS} is not laid out as a class file's is")
    return encoded.replace(b"\xc0\x80", b"\x00").decode("utf-8", "surrogatepass")
