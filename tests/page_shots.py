"""Pictures of the demo's page, to look at: ``python tests/page_shots.py OUT MODEL [PICTURES]``.

At the width of a desk and of a phone, light and dark: empty, with the first of PICTURES
or of the examples, with a drawing, and with the camera.
"""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from ghostnet_small.demo.opened import open_bundle
from ghostnet_small.demo.runtime import read_assets
from ghostnet_small.demo.site import read_page, read_pictures, site
from page_kit import Demo, serving, start_chromium

WIDTHS = {"desktop": 1280, "phone": 390}


def shoot(browser: Browser, url: str, device: str, scheme: str, out: Path) -> None:
    """Four pictures of the whole page."""
    context = browser.new_context(
        viewport={"width": WIDTHS[device], "height": 844},
        color_scheme=scheme,  # type: ignore[arg-type]
        reduced_motion="reduce",
    )
    demo = Demo.open(context, url)
    page = demo.page

    def keep(state: str) -> None:
        page.mouse.move(0, 0)
        page.screenshot(path=out / f"{device}-{scheme}-{state}.png", full_page=True)

    keep("empty")
    before = demo.answered()
    page.locator("#example-list button").first.click()
    demo.wait(before)
    page.wait_for_selector("#time-text:has-text('Median')", timeout=60_000)
    keep("file")
    demo.tab("draw")
    box = page.locator("#board").bounding_box()
    assert box is not None
    before = demo.answered()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.7 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.4 * box["height"], steps=5)
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.8 * box["height"], steps=5)
    page.mouse.up()
    demo.wait(before)
    demo.all_classes()
    keep("draw")
    demo.tab("camera")
    page.click("#camera-start")
    page.click("#camera-live")
    page.wait_for_selector("#camera-rate:has-text('a second')")
    keep("camera")
    assert demo.complaints == [] and demo.outside() == []
    context.close()


def main(out: Path, model: Path, folder: Path | None) -> None:
    """Make them all."""
    out.mkdir(parents=True, exist_ok=True)
    pictures = read_pictures(folder, print) if folder else {}
    table = site(open_bundle(model, say=print), read_page(), read_assets(), pictures)
    with serving(table) as url, sync_playwright() as playwright:
        browser = start_chromium(playwright)
        for device in WIDTHS:
            for scheme in ("light", "dark"):
                shoot(browser, url, device, scheme, out)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]) if sys.argv[3:] else None)
