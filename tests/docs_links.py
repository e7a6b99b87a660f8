"""What built pages point to, and whether it is there."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Attributes by which a browser fetches something without being asked.
_FETCHED = {
    "img": ("src", "srcset"),
    "source": ("src", "srcset"),
    "script": ("src",),
    "link": ("href",),
    "iframe": ("src",),
    "object": ("data",),
    "video": ("src", "poster"),
    "audio": ("src",),
    "image": ("href", "xlink:href"),
    "use": ("href", "xlink:href"),
}


@dataclass
class Found(HTMLParser):
    """A page's anchors, the addresses that a reader may follow, and what it fetches itself."""

    anchors: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)
    fetched: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the tag names."""
        given = {key: value or "" for key, value in attrs}
        self.anchors |= {given[key] for key in ("id", "name") if key in given}
        if tag == "a" and "href" in given:
            self.links.add(given["href"])
        for key in _FETCHED.get(tag, ()):
            # A srcset has several, each with a width behind it.
            self.fetched |= {part.split()[0] for part in given.get(key, "").split(",") if part}
        self.fetched |= set(_in_styles(given.get("style", "")))


def read_page(file: Path) -> Found:
    """What an HTML file has and names."""
    found = Found()
    found.feed(file.read_text())
    return found


def broken_links(site: Path) -> list[str]:
    """Each link of each page that leads nowhere, each fetch that leaves the site."""
    pages = {file: read_page(file) for file in sorted(site.rglob("*.html"))}
    wrong = []
    for file, found in pages.items():
        where = file.relative_to(site)
        for address in sorted(found.fetched):
            if _outside(address) or not _target(file, address).is_file():
                wrong.append(f"{where} fetches {address}")
        for address in sorted(found.links):
            if _outside(address):
                if not well_formed(address):
                    wrong.append(f"{where} has the malformed address {address}")
                continue
            target = _target(file, address)
            anchor = unquote(urlsplit(address).fragment)
            if not target.is_file():
                wrong.append(f"{where} links to {address}, which is not there")
            elif anchor and target in pages and anchor not in pages[target].anchors:
                wrong.append(f"{where} links to {address}, which has no such anchor")
    for file in sorted(site.rglob("*.css")):
        outside = [address for address in _in_styles(file.read_text()) if _outside(address)]
        wrong += [f"{file.relative_to(site)} fetches {address}" for address in outside]
    return wrong


def well_formed(address: str) -> bool:
    """Whether an outside address could be one; whether it answers cannot be asked here."""
    parts = urlsplit(address)
    if parts.scheme == "mailto":
        return "@" in parts.path
    host = re.fullmatch(r"([a-z0-9-]+\.)+[a-z]{2,}", parts.hostname or "")
    return parts.scheme == "https" and host is not None and not re.search(r"\s", address)


def _outside(address: str) -> bool:
    if address.startswith("data:"):
        return False
    return bool(urlsplit(address).scheme or address.startswith("//"))


def _target(page: Path, address: str) -> Path:
    if address.startswith("data:"):
        return page
    path = unquote(urlsplit(address).path)
    target = (page.parent / path).resolve() if path else page
    return target / "index.html" if target.is_dir() else target


def _in_styles(text: str) -> list[str]:
    return re.findall(r"url\(\s*['\"]?([^'\")]+)", text) + re.findall(
        r"@import\s+['\"]([^'\"]+)", text
    )
