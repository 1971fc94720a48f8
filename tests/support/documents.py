"""The pages of the project, and how tests read them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(ROOT.glob("tests/*/*.md")),
]
FENCE: Final = re.compile(r"```.*?```", re.DOTALL)


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """Return what a link may name in a page: its headings, as Markdown renderers write them."""
    heads = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def prose(page: Path) -> str:
    """Return a page without code, generated blocks, tables, headings and the targets of links."""
    text = FENCE.sub("", page.read_text("utf-8"))
    text = re.sub(r"<!-- from .*?<!-- end of .*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"^[|#>].*$|`[^`\n]*`|\]\([^)]*\)", " ", text, flags=re.MULTILINE)
    return " ".join(text.split())


def reading_order() -> list[Path]:
    """Return the pages of the site in the order of its index."""
    docs = ROOT / "docs"
    names = re.findall(r"^   ([\w*/-]+)$", (docs / "index.rst").read_text("utf-8"), re.MULTILINE)
    return list(dict.fromkeys(page for name in names for page in sorted(docs.glob(f"{name}.md"))))


def demo_in_the_readme() -> list[str]:
    """Return the lines of the demo's output that the README shows."""
    blocks = re.findall(r"```\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    (block,) = (one for one in blocks if "│" in one)
    return block.splitlines()
