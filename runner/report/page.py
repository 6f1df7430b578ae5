"""The page: templates, style and script become one file that loads nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from runner import passwords
from runner.text import shown


def render(template: str, content: Mapping[str, Any]) -> str:
    """Returns the page. Texts in the content are escaped twice: controls by us, and markup by the template."""
    style = _asset("uplot/uPlot.min.css") + _asset("report.css")
    scripts = [_asset("uplot/uPlot.iife.min.js"), _asset("report.js")]
    allowed = {
        "script-src": " ".join(map(_digest, scripts)),
        "style-src": _digest(style),
        "img-src": "data:",
    }
    # Even if something got past the escaping, the browser would run and load nothing but this.
    policy = "; ".join(
        ["default-src 'none'", "base-uri 'none'", "form-action 'none'", *(f"{k} {v}" for k, v in allowed.items())]
    )
    return _environment().get_template(template).render(harmless(content), style=style, scripts=scripts, policy=policy)


def harmless(value: Any) -> Any:
    """Returns nested data with all texts as they may be shown, without passwords."""
    if isinstance(value, str):
        return passwords.redact("\n".join(map(shown, value.split("\n"))))
    if isinstance(value, Mapping):
        return {harmless(key): harmless(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [harmless(item) for item in value]
    return value


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _asset(name: str) -> str:
    return (files("runner.report") / "assets" / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    loader = PackageLoader("runner.report", "assets")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
