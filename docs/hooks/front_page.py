"""README.md as the site's front page and CHANGELOG.md as its own, each written in one place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SOURCES = {"index.md": "README.md", "contributing/changelog.md": "CHANGELOG.md"}
# What stands outside docs/, by the page that has it on the site.
ELSEWHERE = {
    "CHANGELOG.md": "contributing/changelog.md",
    "CONTRIBUTING.md": "contributing/index.md",
}
_LINK = re.compile(r"\]\((?![a-z]+:|#)([^)]+)\)")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Return the repository's own file in the place of a page that only names it."""
    uri: str = page.file.src_uri
    if uri not in SOURCES:
        return markdown
    up = "../" * uri.count("/")

    def on_site(link: re.Match[str]) -> str:
        target = link[1]
        if target.startswith("docs/"):
            return f"]({up}{target.removeprefix('docs/')})"
        if target in ELSEWHERE:
            return f"]({up}{ELSEWHERE[target]})"
        return f"]({target})"

    text = _LINK.sub(on_site, (ROOT / SOURCES[uri]).read_text("utf-8"))
    # Files that the site has not stay names.
    return re.sub(r"\[([^\]]+)\]\((?:bench/results|LICENSE|SECURITY[.]md)\)", r"\1", text)
