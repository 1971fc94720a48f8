"""The documentation as a site with search: `make docs` (Sphinx, with MyST for the pages' Markdown)."""

project = "blindmatch"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "blindmatch"
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]
nitpicky = True
