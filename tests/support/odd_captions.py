"""Unusual captions."""

# What a person writes → what is kept: the same but for white space, and without what no screen shows.
KEPT = {
    "a cat 🐈 and a family 👨‍👩‍👧‍👦": "a cat 🐈 and a family 👨‍👩‍👧‍👦",
    "قطة على السجادة": "قطة على السجادة",
    "a \u202eright-to-left\u202c override": "a \u202eright-to-left\u202c override",
    "combining e\u0301 stays as it was typed": "combining e\u0301 stays as it was typed",
    "猫が寝ている": "猫が寝ている",
    "<script>alert(1)</script> & <b>bold</b>": "<script>alert(1)</script> & <b>bold</b>",
    "'; DROP TABLE correction; --": "'; DROP TABLE correction; --",
    "{{ 7 * 7 }} %s %(x)s {0}": "{{ 7 * 7 }} %s %(x)s {0}",
    "back\\slash and \\u0000 spelt out": "back\\slash and \\u0000 spelt out",
    "[DEC] [SEP] [PAD] ##s": "[DEC] [SEP] [PAD] ##s",
    '=HYPERLINK("http://x")': '=HYPERLINK("http://x")',
    "a NUL\x00 within": "a NUL within",
    "a bell\x07, an escape\x1b[31m and a delete\x7f": "a bell, an escape[31m and a delete",
    "half a pair \ud83d of two": "half a pair of two",
    "  white \t space,\r\n lines\u2028and\x85more  ": "white space, lines and more",
    "zero\u200bwidth": "zero\u200bwidth",
    "a cat " * 17_000: ("a cat " * 17_000).strip(),
}
NOT_A_LETTER_LEFT = [" ", "\n\t ", "\x00", "\x00\x01\x7f", "\ud800", "\u2028 \u00a0"]
