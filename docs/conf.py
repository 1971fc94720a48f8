"""The documentation as a site with search: `make docs` (Sphinx, with MyST for the pages' Markdown)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

project = "blindmatch"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "blindmatch"
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]
nitpicky = True
# Beside the glossary, a page at the top of docs/ only says where its text has gone; code and kept results
# name it.
exclude_patterns = [one.name for one in Path(__file__).parent.glob("*.md") if one.name != "glossary.md"]

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def notebook_page(path: Path) -> str:
    """Return a notebook as Markdown, with what its cells show; its title, the first line, is left out."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    parts = [part for cell in cells for part in _cell_parts(cell)]
    title, _, rest = parts[0].partition("\n")
    if not title.startswith("# "):
        raise ValueError(f"{path.name} must begin with a title")
    return "\n\n".join([rest.strip(), *parts[1:]]) + "\n"


def _cell_parts(cell: dict[str, Any]) -> Iterator[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield source
        return
    yield f"```python\n{source}\n```"
    for output in cell["outputs"]:
        drawn = output["data"].get("image/svg+xml")
        if drawn is None:
            yield "```text\n" + "".join(output["data"]["text/plain"]) + "\n```"
        else:
            # an HTML block of Markdown ends at an empty line, and a drawing has none
            yield "<div>\n" + "".join(drawn) + "\n</div>"


def add_notebook(app: Any, name: str, source: list[str]) -> None:
    """Put the notebook of its name behind the text of a page of notebooks/."""
    folder, _, notebook = name.rpartition("/")
    if folder == "tutorials/notebooks":
        source[0] += "\n" + notebook_page(EXAMPLES / f"{notebook}.ipynb")


def setup(app: Any) -> None:
    """Register what Sphinx calls when it reads a page."""
    app.connect("source-read", add_notebook)
