"""A page of pictures, one below the other: an HTML file beside the folder `pictures`, for light and dark screens."""

from __future__ import annotations

import html
from collections.abc import Sequence

_STYLE = """
:root{--paper:#fff;--ink:#1c2630;--quiet:#64707c;--line:#dde3e8}
@media (prefers-color-scheme:dark){:root{--paper:#14181c;--ink:#e4e9ee;--quiet:#95a1ad;--line:#303841}}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,"DejaVu Sans",sans-serif}
main{max-width:1180px;margin:0 auto;padding:28px 24px 80px}h1{font-size:26px}.quiet{color:var(--quiet)}
figure{margin:0 0 26px;padding-top:14px;border-top:1px solid var(--line)}img{max-width:100%;border-radius:6px}figcaption{margin:4px 0;overflow-wrap:anywhere}
"""


def figure(place: int, said: str, quiet: str, picture: str) -> str:
    """One of them, by its place from 1 on. picture: file name below `pictures`."""
    said = html.escape(said)
    return (
        f"<figure><figcaption><b>{place}</b> {said} <span class=quiet>{html.escape(quiet)}</span></figcaption>"
        f'<img src="pictures/{html.escape(picture)}" alt="{said}" loading="lazy"></figure>'
    )


def page(title: str, lead: str, figures: Sequence[str], *, none: str) -> str:
    """The whole file. none: what is said where there are no figures."""
    title = html.escape(title)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n'
        f"<p class=quiet>{html.escape(lead)}</p>\n" + "\n".join(figures or [f"<p>{html.escape(none)}</p>"]) + "\n</main>\n</body>\n</html>\n"
    )
