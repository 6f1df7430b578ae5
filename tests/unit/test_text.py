"""Text that came from elsewhere is shown, and never sent."""

import unicodedata

import pytest

from runner.text import as_name, shown, shown_lines

HARMLESS = "Ünïcode 漢字 🙂 a\\b {x} [y] — 'z'"
SENT = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Categories of Unicode that a terminal, a log or a layout would obey: controls, formats, surrogates, separators of lines."""


def test_nothing_of_all_unicode_is_sent() -> None:
    every = "".join(map(chr, range(0x110000)))
    for result in (shown(every), as_name(every)):
        assert not {unicodedata.category(character) for character in result} & SENT
        result.encode()


@pytest.mark.parametrize(
    ("text", "result"),
    [
        (HARMLESS, HARMLESS),
        ("", ""),
        ("\x1b[2J\x1b]52;c;aGk=\x07", r"\x1b[2J\x1b]52;c;aGk=\x07"),
        ("a\nb\r\tc\x7f\x9b", r"a\nb\r\tc\x7f\x9b"),
        ("\u202egnp\u2066\u200b\ufeff\udc80\u2028", r"\u202egnp\u2066\u200b\ufeff\udc80\u2028"),
        (ValueError("a\nb"), r"a\nb"),
    ],
)
def test_what_cannot_be_printed_is_escaped(text: object, result: str) -> None:
    assert shown(text) == result
    assert shown(result) == result


def test_line_breaks_of_our_own_stay() -> None:
    assert shown_lines("a\nb\r\n\x1bc\u2028") == "a\nb\\r\n\\x1bc\\u2028"


def test_names() -> None:
    assert as_name(HARMLESS) == HARMLESS
    assert as_name("a\nb\x1b\u202e\udc80") == "a_b___"
