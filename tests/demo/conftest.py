"""One browser and one server for all tests of the page."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

import page_kit
from ghostnet_small.demo.opened import Bundle
from ghostnet_small.demo.runtime import read_assets
from ghostnet_small.demo.site import read_page, site
from ghostnet_small.errors import InputError
from page_kit import Demo, encoded, made_picture

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    api = pytest.importorskip("playwright.sync_api", reason="install playwright")
    if page_kit.CHROMIUM is None:
        pytest.skip("install chromium, in which the page is opened")
    with api.sync_playwright() as playwright:
        found = page_kit.start_chromium(playwright)
        yield found
        found.close()


@pytest.fixture(scope="session")
def assets() -> dict[str, bytes]:
    try:
        return read_assets()
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def bundle(assets: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Made once, however many processes run the tests."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if base.name.startswith("popen-") else base) / "demo-bundle"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return page_kit.small_bundle(folder)


@pytest.fixture(scope="session")
def table(bundle: Bundle, assets: dict[str, bytes]) -> dict[str, Any]:
    """Every address of the demo, with one picture offered."""
    return dict(site(bundle, read_page(), assets, {"red.png": encoded(made_picture(0))}))


@pytest.fixture(scope="session")
def one_demo(browser: Browser, table: dict[str, Any]) -> Iterator[Demo]:
    with page_kit.serving(table) as url:
        context = browser.new_context(
            viewport={"width": 1280, "height": 900}, reduced_motion="reduce"
        )
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=url)
        context.add_init_script(page_kit.WATCH)
        demo = Demo.open(context, url)
        demo.first_answer()
        yield demo
        context.close()


@pytest.fixture
def demo(one_demo: Demo) -> Iterator[Demo]:
    """The page in its first tab. What it asks of others, or complains of, fails the test."""
    one_demo.tab("file")
    yield one_demo
    assert one_demo.outside() == []
    assert one_demo.complaints == []
    assert one_demo.locate("#failure").is_hidden()
