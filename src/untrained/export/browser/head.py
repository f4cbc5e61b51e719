"""The head of a page: title, icon, and the text that a link to it shows elsewhere."""

from __future__ import annotations

from urllib.parse import quote

from markupsafe import Markup

# Four neurons and the edges between them: a kept one of each sign, and one that was dropped.
_ICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32" stroke-width="3" fill="none">\
<path d="M6 5L26 16" stroke="#0072b2"/><path d="M6 27L26 16" stroke="#c35100"/>\
<path d="M6 16H26" stroke="#9aa2ab" stroke-dasharray="2 4"/>\
<path d="M6 5h0M6 16h0M6 27h0M26 16h0" stroke="#6d747e" stroke-width="9" stroke-linecap="round"/></svg>"""
_HEAD = Markup("""<title>{title}</title>
<meta name="description" content="{description}">
<meta property="og:type" content="website">
<meta property="og:title" content="{title}">
<meta property="og:description" content="{description}">
<meta name="twitter:card" content="summary">
<link rel="icon" href="data:image/svg+xml,{icon}">""")


def write_head(title: str, description: str) -> Markup:
    """Return the elements of a page's head; both texts are escaped."""
    return _HEAD.format(title=title, description=description, icon=Markup(quote(_ICON, safe="/:=',")))
