"""A word that is printed is the word that a shell hands on."""

import os
import subprocess

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
    environment = os.environ | {"LC_ALL": "C.UTF-8"}
    done = subprocess.run(["bash", "-c", rf"printf '%s\0' {printed}"], env=environment, capture_output=True, check=True)
    assert done.stdout.split(b"\0")[:-1] == [os.fsencode(word) for word in words]
