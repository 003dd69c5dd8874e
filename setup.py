"""The package index shows README.md alone: its links lead to the repository there."""

import re
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
URL = re.search(r'Homepage = "(.+)"', (ROOT / "pyproject.toml").read_text("utf-8"))[1]
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)]+)\)")


def absolute(link: re.Match[str]) -> str:
    picture, text, target = link.groups()
    return f"{picture}[{text}]({URL}/{'raw' if picture else 'blob'}/main/{target})"


setup(
    long_description=LINK.sub(absolute, (ROOT / "README.md").read_text("utf-8")),
    long_description_content_type="text/markdown",
)
