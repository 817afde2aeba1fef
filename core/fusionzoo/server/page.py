"""The page of the server, which scores one row. It needs no other file, and the browser loads nothing else for it."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from flask import Response

PAGE = Path(__file__).with_name("page.html")


def render_page() -> Response:
    """Return the page. The browser runs only the script and the style in it, and connects only to this server."""
    text = PAGE.read_text("utf-8")
    policy = {
        "default-src": "'none'",
        "script-src": _hash_content(text, "script"),
        "style-src": _hash_content(text, "style"),
        "img-src": "data:",  # the empty icon, without which the browser requests /favicon.ico
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    headers = {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
    return Response(text, headers=headers, content_type="text/html; charset=utf-8")


def _hash_content(text: str, element: str) -> str:
    """Return the source expression of Content Security Policy that allows the one element of this name in the page."""
    (content,) = re.findall(f"<{element}>(.*?)</{element}>", text, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
