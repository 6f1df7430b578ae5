"""Texts as they are typed: Hydra would make a number of `2024_01_02`, and a truth value of `true`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from antlr4 import InputStream, Token
from hydra.grammar.gen.OverrideLexer import OverrideLexer

from runner.config.schema_keys import Kind, kind

_NUMBERS = (OverrideLexer.INT, OverrideLexer.FLOAT, OverrideLexer.BOOL)
_COLUMN_NUMBER = re.compile(r"-?\d+")
_OPEN = (OverrideLexer.POPEN, OverrideLexer.BRACKET_OPEN, OverrideLexer.BRACE_OPEN)
_CLOSE = (OverrideLexer.PCLOSE, OverrideLexer.BRACKET_CLOSE, OverrideLexer.BRACE_CLOSE)
_CHOICE = re.compile(r"\s*choice\s*\(([^()]*)\)\s*")


def as_typed(key: str, value: str) -> str:
    """Returns a value with quotes around what is a text, and a number to Hydra; `null` stays what it is.

    Raises:
        ConfigError: the key is below another one, which has a value and no keys.
    """
    what = kind(key)
    if what is Kind.other:
        return value
    if choice := _CHOICE.fullmatch(value):
        value = choice[1]  # the same in short, where Hydra keeps the quotes
    result = value
    # Hydra has no group without a name.
    kinds = (*_NUMBERS, OverrideLexer.NULL) if key == "conf" else _NUMBERS
    found = [token for token in _alone(value) if token.type in kinds]
    if what is Kind.text and [token.text for token in found] == [value.strip()]:
        return f"'{value}'"  # with the blanks around it
    for token in reversed(found):
        if what is Kind.text or not _COLUMN_NUMBER.fullmatch(token.text):
            result = f"{result[: token.start]}'{token.text}'{result[token.stop + 1 :]}"
    return result if result == value else result.rstrip()  # to Hydra, a blank after a quote is an error


def _alone(value: str) -> Iterator[Token]:
    """Yields the tokens that are a whole value to Hydra, or a whole item of a list."""
    lexer = OverrideLexer(InputStream(value))
    lexer.removeErrorListeners()
    lexer.mode(OverrideLexer.VALUE_MODE)
    tokens = [token for token in lexer.getAllTokens() if token.type != OverrideLexer.WS]
    within = [""]
    for before, token, after in zip([None, *tokens], tokens, [*tokens[1:], None], strict=False):
        if token.type in _OPEN:
            is_call = token.type == OverrideLexer.POPEN
            within.append(before.text if is_call and before is not None else token.text.strip())
        elif token.type in _CLOSE and len(within) > 1:
            within.pop()
        begins = before is None or before.type in (*_OPEN, OverrideLexer.COMMA) or (within[-1] == "{" and _is_colon(before))
        ends = after is None or after.type in (*_CLOSE, OverrideLexer.COMMA)
        if begins and ends and within[-1] in ("", "[", "{"):
            yield token


def _is_colon(token: Token) -> bool:
    return bool(token.type == OverrideLexer.COLON)
