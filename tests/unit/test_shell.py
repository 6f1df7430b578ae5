"""A word that is printed is the word that a shell hands on."""

import os
import subprocess
import sys

import pytest

from runner import shell

WORDS = [
    "",
    "plain",
    "it's",
    "a b",
    "tab\there",
    "two\nlines",
    "back\\slash\t'quoted'",
    "\x01\x1b[2J",
    "\x7f\x80\xa09",
    "\u202e\U000e0001x",
]
BYTES = b"not UTF-8: \xff\xfe9\t"


def test_words_reach_a_program_as_they_are() -> None:
    words = [*WORDS, os.fsdecode(BYTES)]
    printed = shell.join(words)
    assert printed.isprintable()
    assert taken(printed) == [os.fsencode(word) for word in words]
    assert shell.quote("\ud800").isascii()  # in no path, but in a name


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_words_that_the_output_has_no_letters_for(encoding: str) -> None:
    words = ["é", "ünï 😀", "it's é\t", "плохо", "plain"]
    command = [sys.executable, "-c", "import sys; from runner import shell; print(shell.join(sys.argv[1:]))", *words]
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    printed = subprocess.run(command, env=environment, capture_output=True, check=True).stdout.decode(encoding)
    assert taken(printed) == list(map(os.fsencode, words))


def taken(printed: str) -> list[bytes]:
    """Returns what a shell makes of words, the same in each locale."""
    results = []
    for locale in ("C", "C.UTF-8"):
        environment = os.environ | {"LC_ALL": locale}
        done = subprocess.run(["bash", "-c", rf"printf '%s\0' {printed}"], env=environment, capture_output=True, check=True)
        results.append(done.stdout.split(b"\0")[:-1])
    assert results[0] == results[1]
    return results[0]
