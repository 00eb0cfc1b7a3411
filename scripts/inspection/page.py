"""The page: all data of a pass in one HTML file, with its style and its code inside; nothing is fetched."""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
STYLES = ("page.css",)
CODE = ("picture.js", "overview.js", "layer.js", "extras.js", "page.js")


def page(title: str, data: dict[str, Any]) -> str:
    """The text of the file. data: {"reports": [one dict, or two that are compared]}."""
    parts = {
        "TITLE": escaped(title),
        "STYLE": "\n".join(read(name) for name in STYLES),
        "DATA": json.dumps(data, separators=(",", ":"), allow_nan=False).replace("</", "<\\/"),
        "CODE": "\n".join(read(name) for name in CODE),
    }
    text = read("page.html")
    for name, value in parts.items():
        text = text.replace(f"{{{{{name}}}}}", value, 1)
    return text


def read(name: str) -> str:
    """A file beside this one."""
    return (HERE / name).read_text(encoding="utf-8")


def escaped(text: str) -> str:
    """Text for HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
