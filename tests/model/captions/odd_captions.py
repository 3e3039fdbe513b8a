"""Captions that no one would write, and many that someone did: what the tokeniser is compared with Java on."""

import random
import re

_TEXT = """
a the dog DOG Dog cat's cats' James' James's O'Brien d'Artagnan rock'n'roll rock 'n' roll 'n' 'tis 'twas 'em 'til 'cause '90s 1990s
can't cannot CANNOT won't gonna Gonna wanna gotta gimme lemme dunno y'all c'mon o'clock ain't it's they're we've I'll she'd I'm shouldn't've
isn't don't DON'T ma'am ol' li'l s'mores whatcha more'n d'ye "quoted" 'single' “curly” ‘curly’ «guillemets» ‹single› „low“ ``latex'' `tick`
(round) [square] {curly} <angle> <b>bold</b> <br/> &amp; &lt; &gt; &quot; &apos; &mdash; &nbsp; R&D AT&T S&P S&P-500 Q&A rock&roll
$5 $5.00 US$5 A$5 C$3.50 £5 €5 5€ ¥500 ₹100 ₤ ¢ 50¢ #1 #3 No. no. No. 7 Nos. 3 fig. 2 Fig. 10 p. 5 pp. 3 ca. 1900 vol. 3 art. 5 sec. 2
1/2 3/4 3 1/2 3-1/2 ½ ¼ ¾ ⅓ ⅔ ⅛ 2½ 1,000 1,000,000.50 1.5 .5 -5 +5 −5 5% 80 % 10:30 5:30p.m. 5:30 p.m. 12/24/2019 2019-12-24 24.12.2019 1-2-3
5kg 5 kg 10km/h 20°C 20 °C 98.6°F 4x4 6'2" 5ft 1080p 3D 2nd 1st 21st x2 H2O CO2 A4 B-52 F-16 MP3 iPhone6s 100m² m³ x² 10⁵ ±3
U.S. U.S.A. U.K. a.m. p.m. i.e. e.g. etc. et al. vs. v. Mr. Mrs. Ms. Dr. Prof. Sr. Jr. Ph.D. M.D. B.A. St. Ave. Blvd. Rd. Mt. Ft. Inc. Ltd. Corp. Co. Bros. Jan. Feb. Sept. Mon. Tues.
Calif. Fla. N.Y. D.C. L.A. J. K. Rowling A. B. I. Gen. Col. Lt. Capt. Gov. Sen. Rep. Rev. Hon. Pres. Assn. Dept. Univ. Est. Vol. Op. Pty. Ltd. cf. approx. min. max. oz. lb. lbs. ft. in. sq. tel. ext.
non-U.S. U.S.-based e-mail e-bike black-and-white 2-year-old twenty-one mother-in-law T-shirt x-ray stop-sign re-enter well-known pre- post-war anti- co-op
- -- --- ---- ----- – — ― ‐ ‑ ‒ … .. ... .... ..... . . . ! !! ? ?! !? ?? , ; : · • † ‡ § ¶ © ® ™ ° ¿que? ¡hola!
http://example.com http://www.example.com/a/b?c=d&e=f#g https://x.org. www.example.com example.com/path ftp://a.b/c user@example.com <me@x.org> mailto:a@b.co
@user @user_name #hashtag #TwoWords #1tag # @ _ __ ___ a_b snake_case file.txt image.jpg photo.PNG my-file.tar.gz C:\\path\\to /usr/bin and/or black/white/red his/her w/ w/o
:) :-) ;) :D :P <3 =) ^_^ (^_^) >_< =/ :/ xD 😀 🏳️‍🌈 👨‍👩‍👧 ❤ ❤️ ☀ ★ → ← ⇒ ≤ ≥ ≠ × ÷ √ ∞ ♥ ♪ ✓
naïve café Café's CAFÉ résumé façade jalapeño Zürich São Straße İstanbul Æsop œuvre Łódź Ελλάδα Москва 東京 日本語の 中文 한국어 العربية עברית हिन्दी ไทย
soft\u00adhyphen so\u00adft\u00adly \u00ad zero\u200bwidth non\u00a0breaking thin\u2009space wide\u3000space joined\u200dword bom\ufeff nel\u0085 ctrl\u0007 del\u007f
colour theatre grey centre realise favourite jewellery tyre catalogue 8-10 $5-10 (555) 123-4567 555-1234 +1 555 123 4567 555.123.4567 123-45-6789
*star* **bold** * ** *** ~tilde~ ^ | || \\ / // \\/ = == === + ++ % & && C++ C# F# .NET Yahoo! E! OK! 24/7 7-Eleven McDonald's Toys"R"Us h4x0r l33t AC/DC
'quote at start' ends with quote' it''s ''double'' "nested 'quotes' here" ("both") ['x'] {"json": 1} a.b.c A.B.C end. Next end.Next end.next word.Word. ok,then yes;no a:b 1:2:3
it's. it's, dogs'. dogs', (it's) "it's" 'it's' cat's-eye o'er ne'er-do-well 'Twas Jack-o'-lantern fo'c'sle d'oh l'amour qu'est-ce n't 's 're ' '' " `
Ma'am Jan Feb Mar No no. St the. The. a. A. i. I. x. X. z! q? so. So. inc. Inc co. Co pt. ltd. miss. Miss mass. Mass. wash. ore. ill. la. pa. del. tex. az. ark.
"""
PIECES = [piece for piece in re.split("[ \n]", _TEXT) if piece]  # not str.split: it splits at no-break spaces

_CODE_BLOCKS = [(0x20, 0x7E), (0x80, 0xFF), (0x100, 0x24F), (0x2010, 0x2040), (0x20A0, 0x20BF), (0x2100, 0x21FF)] + [
    (0x2200, 0x27BF),
    (0x3000, 0x30FF),
    (0xFF00, 0xFFEF),
    (0x1F300, 0x1F64F),
    (0x300, 0x36F),
    (0x370, 0x6FF),
]

_LINE_SEPARATORS = "\u2028\u2029"  # at which the Java tool gets out of step with its captions; ours does not


def odd_captions(count: int, *, seed: int) -> list[str]:
    """`count` captions, each one line: pieces in any order, glued or spaced, some with random characters in them."""
    rng = random.Random(seed)
    return [_odd_caption(rng) for _ in range(count)]


def _odd_caption(rng: random.Random) -> str:
    caption = ""
    for _ in range(rng.randint(1, 9)):
        piece = rng.choice(PIECES)
        if rng.random() < 0.1:
            piece = rng.choice([str.upper, str.title, str.lower])(piece)
        if rng.random() < 0.08:
            piece += "".join(_odd_character(rng) for _ in range(rng.randint(1, 4)))
        caption += piece + rng.choice(["", " ", " ", " ", " ", "  ", ". ", ", ", "-", "'", '"', ") ", " ("])
    return caption


def _odd_character(rng: random.Random) -> str:
    low, high = rng.choice(_CODE_BLOCKS)
    character = chr(rng.randint(low, high))
    return " " if character in _LINE_SEPARATORS else character
