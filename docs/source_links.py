"""A hook of mkdocs: what lies outside docs/ is named by its path in the source tree."""

import re
from typing import Any

OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)]+)\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return the page without links that lead out of the site."""
    return OUTSIDE.sub(_named, markdown)


def _named(link: re.Match[str]) -> str:
    text, path = link.group(1), link.group(2)
    return f"`{path}`" if text.strip("`") == path else f"{text} (`{path}`)"
