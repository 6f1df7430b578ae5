"""Passwords are known by their keys, wherever they turn up, and kept out of the environment."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from runner import passwords
from runner.cli import console
from runner.errors import ConfigError

SECRET = "s3cret-of-mine"


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test begins without a password, and leaves none."""
    monkeypatch.setattr(passwords, "_given", {})
    monkeypatch.setattr(passwords, "_found", set())
    yield
    assert passwords.ENVIRONMENT not in os.environ


KEYS = [
    *("PWD", "pwd", "Password", "PASSWD", "passphrase", "Secret", "Token", "AccessToken", "access_token", "Access Token"),
    *("ProxyPassword", "Proxy Pwd", "SSLKeyPwd", "SSL_KEY_PASSWORD", "sslpassword", "ClientSecret", "AccountKey", "api-key"),
    *("SharedAccessKey", "Key", "key"),
]
SPELLINGS = [
    "DSN=x;{key}={value}",
    "DSN=x;{key}={value};UID=me",
    "DSN=x; {key} = {value} ;UID=me",
    "{key}={value}",
    "DSN=x;{key}={{{value};}}}}more}};UID=me",
    "DSN=x;{key}={{{value}",
    "DSN=x;{key}={{a;{value}",
    "DSN=x;{key}={{a}}{value};UID=me",
    "DSN=x;{key}='a;{value}'",
    "DSN=x;{key}='a'{value};UID=me",
    'DSN=x;{key}="a;""{value}";UID=me',
    "DSN=x;pqopt={{sslmode=verify-full {key}={value} sslcert=/a}};UID=me",
    "DSN=x;pqopt={{sslmode=verify-full;{key}='{value}'}}",
    "DSN=x;Connection={{DRIVER={{a}}}};{key}={{{value}}}}}}};UID=me",
    "DSN=x;{key}=${{oc.env:NO_SUCH_VARIABLE,{value}}}",
    "odbc://DSN=x;{key}={value}&veles&abc&",
]


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_masked_in_every_spelling(key: str, spelling: str) -> None:
    if key.lower() == "key" and "pqopt" in spelling and " {key}" in spelling:
        return  # neither is there such a key in pqopt
    text = spelling.format(key=key, value=SECRET)
    assert passwords.is_secret(text)
    assert SECRET not in passwords.redact(text)
    masked = passwords.conceal(text)
    assert SECRET not in masked
    assert passwords.conceal(masked) == masked
    assert not passwords.is_secret(masked)
    assert passwords.redact(masked) == masked
    assert SECRET in passwords.reveal(masked)
    if "${" not in text:
        assert passwords.reveal(masked) == text


@pytest.mark.parametrize(
    "text",
    [
        "DSN=x;UID=me;SSLKey=/etc/ssl/me.key;RSAKEY=/a.pem",
        "DSN=x;PWD=***;UID=me",
        "DSN=x;PWD=${oc.env:VELES_PW};UID=me",
        "snapshotter.key=/home/me/.veles-key",
        "restore.trust=signed restore.key=env:VELES_KEY",
        "sorted(names, key=str.lower), min(a, key=len)",
        "https://example.org:8080/a@b",
        "",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert not passwords.is_secret(text)
    assert passwords.conceal(text) == passwords.redact(text) == text


@pytest.mark.parametrize(
    ("text", "result"),
    [
        (f"see postgresql://me:{SECRET}@host/db", "see postgresql://me:***@host/db"),
        (f"redis://:{SECRET}@host", "redis://:***@host"),
        (f"http://me:{SECRET}@at@host/x", "http://me:***@host/x"),
    ],
)
def test_credentials_of_urls_are_masked(text: str, result: str) -> None:
    assert passwords.redact(text) == result
    assert passwords.redact(result) == result


def test_a_password_is_known_without_its_key() -> None:
    """Drivers repeat passwords in their errors as they understood them."""
    passwords.conceal(f"DSN=x;PWD={{{SECRET}}}}}}}")
    assert passwords.redact(f"login failed for {SECRET}}}") == "login failed for ***"


def test_a_password_from_the_environment_is_known_once_it_was_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELES_PW", SECRET)
    assert passwords.reveal("DSN=x;PWD=${oc.env:VELES_PW}") == f"DSN=x;PWD={SECRET}"
    assert passwords.redact(f"login failed for {SECRET}") == "login failed for ***"


def test_references_are_resolved_and_their_defaults_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    masked = passwords.conceal(f"DSN=${{oc.env:VELES_DSN}};PWD=${{oc.env:VELES_PW,{SECRET}}}")
    assert masked == "DSN=${oc.env:VELES_DSN};PWD=***"
    monkeypatch.setenv("VELES_DSN", "x")
    assert passwords.reveal(masked) == f"DSN=x;PWD={SECRET}"
    monkeypatch.setenv("VELES_PW", "another")
    assert passwords.reveal(masked) == "DSN=x;PWD=another"


def test_a_password_that_was_not_given_is_asked_for() -> None:
    for text in ("DSN=x;PWD=***", "DSN=${oc.env:NO_SUCH_VARIABLE}"):
        with pytest.raises(ConfigError, match=r"NO_SUCH_VARIABLE|snapshotter\.odbc="):
            passwords.reveal(text)


def test_the_newest_password_of_a_connection_string_counts() -> None:
    for value in ("first-password", "second-password"):
        masked = passwords.conceal(f"DSN=x;PWD={value}")
    assert passwords.reveal(masked) == "DSN=x;PWD=second-password"
    assert passwords._given == {masked: ["second-password"]}


CHILD = f"""
import os, subprocess, sys
from runner import passwords
from runner.cli import console
print(passwords.ENVIRONMENT in os.environ, passwords._given == {{"DSN=x;PWD=***": [{SECRET!r}]}})
print(subprocess.run(["env"], capture_output=True, text=True).stdout.count({SECRET!r}))
"""


def child() -> list[str]:
    return subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True).stdout.split()


def test_children_have_no_password_unless_it_is_handed_over() -> None:
    passwords.conceal(f"DSN=x;PWD={SECRET}")
    assert child() == ["False", "False", "0"]
    passwords.hand_over()
    try:
        assert child() == ["False", "True", "0"], "a worker knows the password; what it starts does not"
        assert json.loads(os.environ[passwords.ENVIRONMENT]) == passwords._given
    finally:
        passwords.keep()
    assert child() == ["False", "False", "0"]


class Odd:
    def __repr__(self) -> str:
        return f"<\x1b[1m PWD={SECRET}>"


@pytest.mark.parametrize(
    ("message", "arguments", "result"),
    [
        ("name %s", ("\x1b[2J\nERROR forged",), r"name \x1b[2J\nERROR forged"),
        ("two\nlines %r", ("a\x07\u202e",), "two\nlines 'a\\x07\\u202e'"),
        ("%d %5.2f %s %s", (3, 0.5, True, None), "3  0.50 True None"),
        ("%(a)s", ({"a": "x\ny"},), r"x\ny"),
        ("%s", (["\x1b\n"],), r"['\x1b\n']"),
        ("%s and %r", (Odd(), Odd()), r"<\x1b[1m PWD=***"),
        ("%s", (ValueError("two\nlines\x1b"),), "two\nlines\\x1b"),
        (f"DSN=x;Token={SECRET}", (), "DSN=x;Token=***"),
        ("100 %", (), "100 %"),
    ],
)
def test_log_records_are_safe_to_show(message: str, arguments: tuple[object, ...], result: str) -> None:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, message, arguments, None)
    for _ in range(2):  # each handler has the filter
        assert passwords.RedactingFilter().filter(record)
        assert record.getMessage() == result


def test_tracebacks_are_safe_to_show() -> None:
    try:
        raise ValueError(f"\x1b[2J ProxyPassword={SECRET}")
    except ValueError as error:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "failed", (), (ValueError, error, error.__traceback__))
        told = passwords.told(error)
    passwords.RedactingFilter().filter(record)
    for text in (logging.Formatter().format(record), told):
        assert r"ValueError: \x1b[2J ProxyPassword=***" in text
        assert SECRET not in text.replace("{SECRET}", "")
        assert text.count("\n") > 2


def test_masking_takes_time_in_proportion_to_the_text() -> None:
    """A hostile name may be megabytes long."""
    for text in (
        "PWD={" * 100_000,
        "PWD=\n" * 100_000,
        "PWD " * 100_000,
        "://" * 100_000,
        "PWD={\n" * 100_000,
        "key" * 100_000,
    ):
        passwords.redact(text)


def test_a_table_of_changes_masks_what_its_key_says(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_changes({"workflow.token": (SECRET, None), "a\x1b[2J": ("\x1b[2J", 3), "snapshotter.key": ("a.pem", "b.pem")})
    shown = capsys.readouterr().out
    assert SECRET not in shown
    assert "\x1b" not in shown
    assert "b.pem" in shown


URLS = {
    f"postgresql+psycopg://me:{SECRET}@host:5432/db?sslmode=require": "postgresql+psycopg://me:***@host:5432/db?sslmode=require",
    f"mysql+pymysql://me:a/b?{SECRET}@c@host/db": "mysql+pymysql://me:***@host/db",
    f"postgresql://:{SECRET}@host/db": "postgresql://:***@host/db",
    f"postgresql://me@host/db?password={SECRET}&sslmode=require": "postgresql://me@host/db?***",
    f"mysql+pyodbc:///?odbc_connect=DSN%3Dx%3BPWD%3D{SECRET}": "mysql+pyodbc:///?***",
    f"postgresql://me:${{oc.env:NO_SUCH_VARIABLE,{SECRET}}}@host/db": "postgresql://me:***@host/db",
    f"postgresql://${{oc.env:VELES_USER}}:{SECRET}@host/db": "postgresql://${oc.env:VELES_USER}:***@host/db",
    "postgresql://me:${oc.env:VELES_PW}@host/db": "postgresql://me:${oc.env:VELES_PW}@host/db",
    "postgresql://me:***@host/db": "postgresql://me:***@host/db",
    "postgresql://me@host:5432/db": "postgresql://me@host:5432/db",
    "sqlite:////home/me/a:b@c/study.db": "sqlite:////home/me/a:b@c/study.db",
}


@pytest.mark.parametrize("url", URLS)
def test_a_password_in_the_url_of_a_database_is_masked_and_put_back(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELES_PW", SECRET)
    monkeypatch.setenv("VELES_USER", "me")
    masked = passwords.conceal_url(url)
    assert masked == URLS[url]
    assert passwords.is_secret_url(url) == (SECRET in url)
    assert passwords.conceal_url(masked) == masked
    if url == "postgresql://me:***@host/db":
        with pytest.raises(ConfigError):
            passwords.reveal_url(masked)
        return
    whole = passwords.reveal_url(masked)
    assert (SECRET in whole) == (masked not in list(URLS)[-2:])
    assert "${" not in whole
    if SECRET in url and "${" not in url:
        assert whole == url
    assert SECRET not in passwords.redact(f"no connection to {whole}: it refuses")
