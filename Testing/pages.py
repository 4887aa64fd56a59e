"""Reads the project's Markdown pages: fenced blocks with their headings, links, anchors, tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, text, first line number in the page, and the heading it stands under."""

    language: str
    text: str
    line: int
    heading: str


@dataclass(frozen=True)
class Page:
    """A Markdown page."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.relative_to(REPOSITORY).as_posix()

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def blocks(self, language: str | None = None) -> list[Block]:
        """Fenced blocks in order, of one language or all."""
        found, heading, fence, start, body = [], "", None, 0, []
        for number, line in enumerate(self.text.splitlines(), 1):
            if fence is None and line.startswith("#"):
                heading = line.lstrip("#").strip()
            if not line.startswith("```"):
                body.append(line)
            elif fence is None:
                fence, start, body = line[3:].strip(), number + 1, []
            else:
                found.append(Block(fence, "\n".join(body) + "\n", start, heading))
                fence = None
        assert fence is None, f"{self.name}: the block of line {start - 1} is not closed"
        return [block for block in found if language in (None, block.language)]

    @property
    def prose(self) -> str:
        """The text without fenced blocks."""
        return re.sub(r"^```.*?^```$", "", self.text, flags=re.MULTILINE | re.DOTALL)

    def links(self) -> list[str]:
        """Targets of links and pictures."""
        return re.findall(r"\]\(([^()\s]+)\)", self.prose)

    def pictures(self) -> list[tuple[str, str]]:
        """(alternative text, target) of each picture."""
        return re.findall(r"!\[([^\]]*)\]\(([^()\s]+)\)", self.prose)

    def anchors(self) -> set[str]:
        """The fragments that GitHub gives the headings."""
        headings = re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)
        kept = ("".join(c for c in h.lower() if c.isalnum() or c in " -_") for h in headings)
        return {text.replace(" ", "-") for text in kept}

    def section(self, heading: str) -> str:
        """The text under a heading, down to the next one of its level or above."""
        match = re.search(rf"^(#+) {re.escape(heading)}$", self.text, re.MULTILINE)
        assert match, f"{self.name} has no heading {heading!r}"
        rest = self.text[match.end() :]
        end = re.search(rf"^#{{1,{len(match[1])}}} ", rest, re.MULTILINE)
        return rest[: end.start()] if end else rest

    def table(self, first: str) -> list[list[str]]:
        """Cells of the rows of the table whose first column is headed `first`."""
        lines = self.text.splitlines()
        start = next(n for n, line in enumerate(lines) if line.startswith(f"| {first} |"))
        body = takewhile(lambda line: line.startswith("|"), lines[start + 2 :])
        return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in body]


README = Page(REPOSITORY / "README.md")
DOCS = [Page(path) for path in sorted((REPOSITORY / "Docs").glob("*.md"))]
PAGES = [README, *DOCS]
