"""Text and Markdown as an HTML page that needs no other file and no network."""

from __future__ import annotations

import base64
import html
from pathlib import Path

STYLE = """
body { box-sizing: border-box; width: fit-content; max-width: 100%; margin: 0 auto; padding: 1.5rem;
       font: 15px/1.5 system-ui, sans-serif; color: #1e293b; background: white; }
h1 { font-size: 1.5rem; margin: 0 0 1rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 0.75rem; }
p { max-width: 50rem; }
p:has(img) { max-width: none; }
img { max-width: 100%; }
pre { font: 13px/1.45 ui-monospace, monospace; overflow-x: auto; }
code { font: 0.9em ui-monospace, monospace; background: #f1f5f9; padding: 0.1em 0.3em; border-radius: 3px; }
table { display: block; overflow-x: auto; border-collapse: collapse; font-size: 13px; }
th, td { padding: 0.3rem 0.5rem; border-bottom: 1px solid #e2e8f0; font-variant-numeric: tabular-nums; }
th { text-align: left; vertical-align: bottom; border-bottom: 2px solid #94a3b8; }
td { white-space: nowrap; }
tbody tr:hover { background: #f8fafc; }
"""


def text_page(title: str, text: str) -> str:
    """Plain text as a page, character by character."""
    return _page(title, f"<h1>{html.escape(title)}</h1>\n<pre>{html.escape(text)}</pre>")


def markdown_page(title: str, text: str, folder: Path) -> str:
    """Markdown with tables as a page; its figures, PNG files of `folder`, go into the page.

    HTML in the text is shown as text.

    Raises:
        FileNotFoundError: a figure is not in the folder.
    """
    from markdown_it import MarkdownIt

    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(text)
    for figure in (child for token in tokens for child in token.children or () if child.type == "image"):
        content = (folder / str(figure.attrs["src"])).read_bytes()
        # In short lines, which browsers join: docutils, through which the report goes, takes no long ones.
        figure.attrs["src"] = f"data:image/png;base64,{base64.encodebytes(content).decode()}"
    return _page(title, markdown.renderer.render(tokens, markdown.options, {}))


def _page(title: str, body: str) -> str:
    head = f'<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n<style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{body}\n</body>\n</html>\n'
