"""The demo's page for everyone: names, contrast, focus, narrow screens, and failures in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from ghostnet_small.demo.chosen import INT8
from ghostnet_small.demo.opened import Bundle
from ghostnet_small.demo.server import Resource
from ghostnet_small.demo.site import read_page, site
from page_kit import Demo, encoded, made_picture, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser

TABS = ("file", "draw", "camera")
SCHEMES = ("light", "dark")
NAMED = {"button", "tab", "radio", "combobox", "textbox", "ColorWell", "image", "application"}

# Every text that is shown, with its contrast with what lies below it, by WCAG's formula.
CONTRAST = """() => {
    const parse = (text) => {
        const canvas = document.createElement("canvas")
            .getContext("2d", {willReadFrequently: true});
        canvas.fillStyle = text;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const light = (rgb) => rgb.slice(0, 3)
        .map((value) => value / 255)
        .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
        .reduce((sum, value, place) => sum + value * [0.2126, 0.7152, 0.0722][place], 0);
    const ratio = (one, two) => {
        const [low, high] = [light(one), light(two)].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
    };
    const ground = (element) => {
        for (let one = element; one; one = one.parentElement) {
            const colour = parse(getComputedStyle(one).backgroundColor);
            if (colour[3] === 255) return colour;
        }
        return [255, 255, 255, 255];
    };
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        const style = getComputedStyle(element);
        const hidden = !element.checkVisibility() || element.closest("noscript, script");
        if (!walker.currentNode.data.trim() || hidden) continue;
        found.push([walker.currentNode.data, ratio(parse(style.color), ground(element)), 4.5]);
    }
    for (const element of document.querySelectorAll("button, select, .fill")) {
        if (!element.checkVisibility()) continue;
        const style = getComputedStyle(element);
        const fill = element.matches(".fill");
        // The tab that is not chosen is told by its text.
        if (!fill && parse(style.borderTopColor)[3] === 0) continue;
        const colour = fill ? style.backgroundColor : style.borderTopColor;
        found.push([element.className || element.id, ratio(parse(colour),
            ground(element.parentElement)), 3]);
    }
    return found;
}"""


@pytest.fixture
def scheme(demo: Demo, request: pytest.FixtureRequest) -> Iterator[str]:
    demo.page.emulate_media(color_scheme=request.param, reduced_motion="reduce")
    yield request.param
    demo.page.emulate_media(color_scheme="light", reduced_motion="reduce")


@pytest.mark.parametrize("scheme", SCHEMES, indirect=True)
def test_contrast_is_enough(demo: Demo, scheme: str) -> None:
    demo.give(encoded(made_picture(0)))
    for tab in TABS:
        demo.tab(tab)
        found = demo.page.evaluate(CONTRAST)
        assert len(found) > 60
        assert [one for one in found if one[1] < one[2]] == []
    paper = demo.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(paper.removeprefix("rgb(").split(",")[0]) < 128) == (scheme == "dark")


def test_what_can_be_used_or_seen_has_a_name(demo: Demo) -> None:
    demo.give(encoded(made_picture(0)))
    session = demo.page.context.new_cdp_session(demo.page)
    session.send("Accessibility.enable")
    roles: set[str] = set()
    for tab in TABS:
        demo.tab(tab)
        for node in session.send("Accessibility.getFullAXTree")["nodes"]:
            role = node.get("role", {}).get("value")
            if node["ignored"] or role not in NAMED:
                continue
            roles.add(role)
            assert node.get("name", {}).get("value", "").strip(), node
    session.send("Accessibility.disable")
    assert roles >= {"button", "tab", "radio", "combobox", "image", "application"}


def test_the_page_has_a_plan(demo: Demo) -> None:
    page = demo.page
    assert page.get_attribute("html", "lang") == "en"
    assert page.locator("h1").count() == page.locator("main").count() == 1
    for landmark in ("banner", "main", "contentinfo"):
        assert page.get_by_role(landmark).count() == 1  # type: ignore[arg-type]
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map((e) => +e.tagName[1])")
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert "needs JavaScript" in (page.locator("noscript").text_content() or "")
    assert page.locator("img:not([alt])").count() == 0
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))
    assert page.locator("[style]:not(.fill, .patch, canvas, .cursor)").count() == 0


def test_the_answer_is_spoken(demo: Demo) -> None:
    demo.give(encoded(made_picture(0)))
    assert demo.locate("#spoken").get_attribute("aria-live") == "polite"
    assert demo.text("#spoken").startswith(demo.text("#winner"))
    assert "float32" in demo.text("#spoken") and "int8" in demo.text("#spoken")


def test_the_keyboard_reaches_everything_and_shows_where_it_is(demo: Demo) -> None:
    demo.page.evaluate("document.activeElement.blur()")
    demo.page.mouse.click(1, 1)
    reached = []
    for _ in range(30):
        demo.page.keyboard.press("Tab")
        name, outline = demo.page.evaluate(
            """() => [document.activeElement.id || document.activeElement.className
                || document.activeElement.tagName,
                getComputedStyle(document.activeElement).outlineStyle]"""
        )
        if name == "BODY":
            break
        assert outline != "none", name
        reached.append(name)
    assert reached[0] == "skip"
    wanted = ["tab-file", "choose", "paste", "more", "looked-class", "measure"]
    assert [name for name in reached if name in wanted] == wanted
    # The tabs are one stop, within which the arrows go.
    assert "tab-draw" not in reached


@pytest.mark.parametrize("width", [320, 360, 700, 1024])
def test_no_sideways_scrolling(demo: Demo, width: int) -> None:
    demo.give(encoded(made_picture(0)), "a-name-of-a-file-without-any-gap-" * 4 + ".png")
    demo.page.set_viewport_size({"width": width, "height": 740})
    try:
        for tab in TABS:
            demo.tab(tab)
            box = demo.page.evaluate("document.scrollingElement.scrollWidth")
            assert box <= width
            # Cards hide nothing of what is too wide for them.
            assert (
                demo.page.evaluate(
                    """() => [...document.querySelectorAll(".card *")].filter((one) =>
                    one.checkVisibility() && !one.closest(".unseen, .stage, [type=radio]") &&
                    one.getBoundingClientRect().right > one.closest(".card")
                        .getBoundingClientRect().right).map((one) => one.outerHTML)"""
                )
                == []
            )
    finally:
        demo.page.set_viewport_size({"width": 1280, "height": 900})


def test_nothing_moves_when_an_answer_comes(demo: Demo) -> None:
    assert demo.moved < 0.02


def test_it_says_what_it_cannot_know(demo: Demo, bundle: Bundle) -> None:
    limits, known = demo.text("#limits"), demo.text("#known")
    assert "10 classes and nothing else" in limits
    assert "not the chance that it is right" in limits
    assert "32 \N{MULTIPLICATION SIGN} 32" in limits
    for name in bundle.description.classes:
        assert name in known
    assert "never leave this machine" in demo.text(".private")


@pytest.fixture
def other(browser: Browser) -> Iterator[Any]:
    """Opens the page of another table; what it complains of is not looked at."""
    context = browser.new_context()

    def opened(url: str, ready: bool) -> Demo:
        return Demo.open(context, url, ready=ready)

    yield opened
    context.close()


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("/model.json", "has no model.json"),
        ("/assets/ort.wasm.min.mjs", "onnxruntime-web"),
        ("/model.onnx", "answered 404"),
    ],
)
def test_a_file_that_is_missing_is_told(
    table: dict[str, Resource], other: Any, missing: str, words: str
) -> None:
    with serving({path: one for path, one in table.items() if path != missing}) as url:
        demo = other(url, ready=False)
        demo.page.wait_for_selector(f"#failure:has-text('{words}')")
        assert demo.text("#agreement") == "There is no network to ask."
        assert demo.locate("main").is_visible() == (missing != "/model.json")
        assert demo.outside() == []


def test_a_file_of_int8_alone_without_maps_or_facts(
    bundle: Bundle, assets: dict[str, bytes], other: Any
) -> None:
    """As an exported file gives it; and names of classes are text, whatever they hold."""
    files = {INT8: bundle.files[INT8]}
    alone = Bundle("alone.onnx", bundle.description, files)
    table = dict(site(alone, read_page(), assets, {}))
    about = json.loads(table["/model.json"].content)
    about["classes"][0] = "<img src=x onerror=alert(1)>"
    table["/model.json"] = Resource(json.dumps(about).encode(), "application/json")
    with serving(table) as url:
        demo = other(url, ready=True)
        demo.give(encoded(made_picture(0)))
        demo.all_classes()
        shown = demo.probabilities()
        assert "<img src=x onerror=alert(1)>" in shown
        assert {len(values) for values in shown.values()} == {1}
        assert "no maps" in demo.text("#looked-text")
        assert "not recorded" in demo.text("#limits")
        assert "of what it knows" in demo.text("#examples-title")
        assert demo.locate("#example-list button").count() == 10
        assert demo.complaints == [] and demo.outside() == []
