"""The page as one HTML file, its pictures within."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping

from edge_tta.errors import ConfigError

_STYLE = """
body { font: 16px/1.55 system-ui, sans-serif; color: #3c4043; max-width: 62rem; margin: 2rem auto;
  padding: 0 1.2rem; }
h1, h2, h3, h4 { line-height: 1.25; margin: 2.2em 0 .6em; color: #202124; }
h1 { margin-top: 0; } h2 { border-bottom: 1px solid #dadce0; padding-bottom: .25em; }
img { max-width: 100%; height: auto; display: block; margin: 1em 0; }
.wide, p:has(> img) { overflow-x: auto; scrollbar-width: thin; }
table { border-collapse: collapse; font-size: .88rem; margin: .8em 0; }
th, td { padding: .32em .75em; border-bottom: 1px solid #e8eaed; text-align: left;
  vertical-align: top; }
th { border-bottom: 2px solid #9aa0a6; }
td { font-variant-numeric: tabular-nums; } tbody tr:hover { background: #f5f6f7; }
code, pre { font: .88em ui-monospace, monospace; background: #f5f6f7; border-radius: 3px; }
code { padding: .1em .3em; }
pre { padding: .8em 1em; white-space: pre-wrap; overflow-wrap: anywhere; }
pre code { padding: 0; background: none; }
@media (max-width: 700px) {
  body { margin: 1rem auto; padding: 0 .8rem; }
  p > img { max-width: none; width: 46rem; }
}
"""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""Result files come from others: nothing that their text names is fetched."""

_PICTURE_ELSEWHERE = re.compile(r'<img src="(?!data:)[^"]*" alt="([^"]*)"[^>]*>')


def html_page(text: str, pictures: Mapping[str, bytes], title: str) -> str:
    """Markdown as an HTML page.

    Args:
        pictures: PNG files by the names that the text has them under.

    Raises:
        ConfigError: markdown-it-py is not installed.
    """
    try:
        from markdown_it import MarkdownIt
    except ImportError as error:
        raise ConfigError(
            "report.html needs markdown-it-py; install it: pip install 'edge-tta[plot]'"
        ) from error
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    for name, data in pictures.items():
        inside = "data:image/png;base64," + base64.b64encode(data).decode()
        body = body.replace(f'src="{html.escape(name)}"', f'src="{inside}"')
    body = _PICTURE_ELSEWHERE.sub(r"\1", body)
    body = body.replace("<table>", '<div class="wide"><table>').replace(
        "</table>", "</table></div>"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{body}</body>\n</html>\n"
    )
