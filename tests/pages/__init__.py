"""The blocks of README.md and of the pages in docs/, which `tests/system/test_pages.py` runs.

A fenced block is a command (`sh`, `bash`), a conf (`yaml`), Python, or something else that nobody types. A page may say more:

* a line that ends with "`conf/iris.yaml`:" makes the block below it that file;
* `<!-- not run: REASON -->` before a block says why it cannot run here;
* `<!-- first: LINES -->` has lines of shell that run first, such as those that make the data of an example.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = Path(__file__).with_name("data")
"""What the examples of the pages are tried with; the lines of `first` know it as $PAGES."""

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

RUNS = {"sh", "bash", "yaml", "python"}
_FIRST, _REASON = re.compile(r"<!-- first:(.*?)-->", re.DOTALL), re.compile(r"<!-- not run: (.+?) -->", re.DOTALL)
_FILE = re.compile(r"`([\w./-]+\.(\w+))`:$")
_ENDINGS = {"py": "python", "yaml": "yaml", "csv": "csv", "sh": "bash"}
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$|^<!-- .*?-->$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of a page.

    Attributes:
        language: what stands behind the fence; `first` of a comment with lines that run first.
        file: the file that the block is; empty for none.
        reason: why it does not run; empty if it does.
    """

    page: str
    line: int
    language: str
    text: str
    file: str = ""
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Returns the blocks of a page, in their order."""
    text, found, reason = page.read_text(), [], ""
    for match in _FENCE.finditer(text):
        block = Block(str(page.relative_to(ROOT)), text.count("\n", 0, match.start()) + 2, match[1] or "", match[2] or "")
        if first := _FIRST.fullmatch(match[0]):
            found.append(replace(block, language="first", text=first[1]))
        elif why := _REASON.fullmatch(match[0]):
            reason = " ".join(why[1].split())
        elif match[2] is not None:
            before = text[: match.start()].rstrip().rpartition("\n")[2]
            named = _FILE.search(before)
            is_file = named and _ENDINGS.get(named[2]) == block.language
            found.append(replace(block, file=named[1] if is_file else "", reason=reason))
            reason = ""
    return found


def commands(text: str) -> list[str]:
    """Returns the commands of a block of shell; a here-document and a continued line are parts of their commands."""
    found: list[str] = []
    end = ""
    for line in text.strip("\n").split("\n"):
        if end or (found and found[-1].endswith("\\")):
            found[-1] += f"\n{line}"
        elif line.strip() and not line.lstrip().startswith("#"):
            found.append(line)
        if end:
            end = "" if line == end else end
        elif here := re.search(r"<<'?(\w+)'?", line):
            end = here[1]
    return found
