"""Example images for the page, drawn here: things, clothes and digits.

A drawing is text, a shape in a line, in units of 1/32 of its side: about a pixel of a network's
input. Smaller details are not needed.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image, ImageColor, ImageDraw, ImageFilter, ImageFont

UNITS = 32
SIDE = 192  # pixels of a finished drawing
FINE = 3  # It is drawn so many times larger and then reduced, for smooth edges.

# A line each: "back ABOVE BELOW top bottom" (two colours, blended), "poly COLOUR x y x y ...",
# "oval COLOUR left top right bottom", "line COLOUR width x y x y ..." or "text COLOUR size edge
# CHARACTER".

# The classes of CIFAR-10.
THINGS = {
    "airplane": """
        back #3f7fd0 #b5d6f2 0 32
        poly #8d949e 14 15 20 6 23 6 19.5 15
        poly #dfe3e8 3 17 6 15 26 13.5 29 14.5 29 16 25 18 8 19.5 4 19
        poly #c4cad2 23.5 14.5 27 8 29.5 8 28.5 15
        poly #7b828c 12 17.5 18 17 25 25 21.5 25
        poly #9aa1ab 24 16 28 16 31 18.5 29 18.5
        line #39414d 0.7 8 16.4 24 15.2
        poly #39414d 4.5 16.6 6.5 15.6 6.8 16.8
    """,
    "automobile": """
        back #b9c4cf #dcdfe0 0 19
        back #8b8b8b #5f6062 19 32
        oval #3c3d40 2 23 30 27
        poly #c3161c 2 18 4 16 9 15 12.5 10.5 21 10 25.5 15 29.5 16.5 30.5 22 29 24 3 24 1.8 22
        poly #23303c 10.8 15 13.3 11.6 16.5 11.4 16.5 15
        poly #23303c 17.5 15 17.5 11.3 20.5 11.2 24 15
        line #7d0b10 0.5 3 21.5 29.5 21.5
        oval #151515 5 19.5 12 26.5
        oval #151515 20.5 19.5 27.5 26.5
        oval #b8bcc0 7 21.5 10 24.5
        oval #b8bcc0 22.5 21.5 25.5 24.5
        oval #f4eab0 28.4 17.4 30.4 19
    """,
    "bird": """
        back #9fb58a #c9d3b4 0 32
        line #5b4630 1.6 0 27 32 24.5
        poly #4d3a2a 19 19 30 23.5 30.5 26 18 23
        oval #a9713f 8 11 23 25
        oval #e6d3b3 8.5 15 17 24.5
        poly #5d412a 13 14 20 13.5 26 22 18 21.5
        oval #7c5231 6 5 15 14.5
        poly #d9a441 2.5 10.5 6.6 8.6 6.8 11
        oval #0d0d0d 8 8 10 10
        line #3a2a1c 0.8 13 24.5 12.5 26.5
        line #3a2a1c 0.8 16.5 24.5 17 26.2
    """,
    "cat": """
        back #e2d8c8 #cbbfae 0 32
        poly #6d6a66 5 32 6 24 26 24 27 32
        poly #77736e 5.5 3 12 8 6.5 15
        poly #77736e 26.5 3 20 8 25.5 15
        poly #c79a92 6.9 5.6 10.5 8.6 7.6 12
        poly #c79a92 25.1 5.6 21.5 8.6 24.4 12
        oval #8b8782 5 6.5 27 27
        line #45423f 0.9 16 7.5 16 11.5
        line #45423f 0.9 13 8 13.6 11
        line #45423f 0.9 19 8 18.4 11
        line #45423f 0.8 5.5 17 9 18
        line #45423f 0.8 26.5 17 23 18
        oval #d7d3cc 10.5 18 21.5 26.5
        oval #c9c24a 8.5 12.8 13.3 17
        oval #c9c24a 18.7 12.8 23.5 17
        oval #101010 10 12.8 12 17
        oval #101010 20 12.8 22 17
        poly #b5655f 14.6 18.6 17.4 18.6 16 20.4
        line #4d4744 0.5 16 20.4 16 22 13.5 23
        line #4d4744 0.5 16 22 18.5 23
        line #efece6 0.3 12 21 3 19.5
        line #efece6 0.3 12 22 3 23.5
        line #efece6 0.3 20 21 29 19.5
        line #efece6 0.3 20 22 29 23.5
    """,
    "deer": """
        back #4d6b37 #6f8a4a 0 20
        back #7d9150 #94a05c 20 32
        line #6b4526 1.5 10 20 9.5 29.5
        line #7c5230 1.5 12.5 20 13 29.5
        line #6b4526 1.5 22 20 21.5 29.5
        line #7c5230 1.5 24.5 20 25 29.5
        oval #9a6638 8 14 26.5 22
        poly #9a6638 8.5 19 5.5 9.5 9 7.5 14 15
        oval #a87344 2.5 6.5 10 11
        poly #7c5230 9 7 12 4.6 10.4 8.6
        oval #191210 2.2 8.6 3.6 10
        oval #191210 5.6 7.6 6.7 8.7
        line #5d4630 0.7 7.5 6.8 6 3.5 6.5 0.8
        line #5d4630 0.7 6 3.5 3.6 1.6
        line #5d4630 0.7 8.6 6.8 10.5 3.4 10 0.8
        line #5d4630 0.7 10.5 3.4 13 1.8
        poly #efe7da 25 15 27.6 16.5 26 19
    """,
    "dog": """
        back #7ea05f #8fae68 0 32
        poly #d2ab74 6 32 8 23 24 23 26 32
        oval #dcb77f 7 4 25 25
        poly #8a5a2e 8.5 6 4 9 3.5 19 6.5 21 9.5 12
        poly #8a5a2e 23.5 6 28 9 28.5 19 25.5 21 22.5 12
        oval #f1dfc0 10.5 14.5 21.5 26
        oval #17110d 13.5 15.5 18.5 19
        oval #17110d 10.6 10.5 13 13
        oval #17110d 19 10.5 21.4 13
        line #4a3320 0.6 16 19 16 21.5 13 22.8
        line #4a3320 0.6 16 21.5 19 22.8
        oval #d9737a 14.6 21.8 17.6 26.6
    """,
    "frog": """
        back #6e5a3c #57462e 0 32
        oval #4c7d26 2 15 12 28
        oval #4c7d26 20 15 30 28
        oval #6da434 5 11 27 28
        oval #b9cf7d 8 19 24 28.5
        oval #6da434 6 6.5 14 15
        oval #6da434 18 6.5 26 15
        oval #d8b23a 7.6 8 12.6 13
        oval #d8b23a 19.4 8 24.4 13
        oval #0b0b0b 8.8 9.2 11.6 12
        oval #0b0b0b 20.4 9.2 23.2 12
        line #2f4f16 0.7 7 18 12 20 16 20.4 20 20 25 18
        line #3f6a20 1.8 9 26 7 30.5
        line #3f6a20 1.8 23 26 25 30.5
    """,
    "horse": """
        back #a8c4de #cfdde4 0 17
        back #7f9a45 #6c863a 17 32
        line #5c3317 2 11 19 10.5 29.5
        line #6d3d1c 2 13.5 19 14 29.5
        line #5c3317 2 23.5 19 23 29.5
        line #6d3d1c 2 25.5 18 26.5 29.5
        oval #7e4820 9 11.5 27.5 21
        poly #7e4820 9.5 18 6.5 6 10 4.5 17 13
        poly #7e4820 9.5 4 10.5 7.5 4 12.5 2 11 6 5.5
        poly #23150c 9.4 3.4 12.5 6.5 16.5 12.5 13.5 12 10 6.5
        poly #23150c 26.5 13 29.6 16 29 24 27 22 27 16
        oval #0d0805 6 6.6 7.2 7.8
    """,
    "ship": """
        back #9fc2e4 #dbe8f2 0 20
        back #2f5f8e #163f66 20 32
        poly #f2f3f4 8 17 8 12.5 24 12.5 25 17
        poly #e3e6e8 11 12.5 11 9 19 9 20 12.5
        poly #d8472f 13 9 13 4.5 16.5 4.5 16.5 9
        poly #1b1d22 13 6 13 4.2 16.5 4.2 16.5 6
        line #5c6570 0.5 22 12.5 22 5
        line #31475c 0.8 9.5 14.8 23.5 14.8
        poly #232936 2 16.5 30.5 16.5 27.5 22.5 5 22.5
        poly #a3271f 3.9 21 28.3 21 27.5 22.8 5 22.8
        line #c7dced 0.7 3 23.2 29 23.2
    """,
    "truck": """
        back #a9c3dc #d9e3ea 0 20
        back #8d8a85 #6a6865 20 32
        oval #434345 1 24 31 28
        poly #f0f0ee 11 6 30.5 6 30.5 22 11 22
        poly #d2d3d2 11 19.5 30.5 19.5 30.5 22 11 22
        poly #1f5aa8 1.5 24 1.5 16 4 10 10 10 10 24
        poly #22303d 3.2 15.5 5 11.5 9 11.5 9 15.5
        poly #2d2f33 1.5 22 30.5 22 30.5 24.5 1.5 24.5
        oval #141414 3 21.5 9 27.5
        oval #141414 17 21.5 23 27.5
        oval #141414 23.5 21.5 29.5 27.5
        oval #a9adb1 5 23.5 7 25.5
        oval #a9adb1 19 23.5 21 25.5
        oval #a9adb1 25.5 23.5 27.5 25.5
        oval #f6e9a8 1.2 19.5 2.8 21
    """,
}

# Most classes of Fashion-MNIST; coats and shirts look too much like pullovers.
CLOTHES = {
    "T-shirt/top": """
        poly #c8c8c8 4 5 11 2 21 2 28 5 30 12 25 13.5 24 11 24 30 8 30 8 11 7 13.5 2 12
        oval #6a6a6a 11.5 0 20.5 5
    """,
    "Trouser": """
        poly #bdbdbd 10 1 22 1 23.5 31 17.6 31 16.2 10 15.8 10 14.4 31 8.5 31
        line #8b8b8b 0.7 10 3 22 3
    """,
    "Pullover": """
        poly #9c9c9c 5 4 11 2 21 2 27 4 31 28 26 29 24 14 24 30 8 30 8 14 6 29 1 28
        oval #5b5b5b 12 0.5 20 4
        line #747474 0.8 8 28 24 28
    """,
    "Dress": """
        poly #b4b4b4 12 1 14 1 16 4 18 1 20 1 21 9 19.5 13 22.5 31 9.5 31 12.5 13 11 9
        line #888888 0.7 12.5 13 19.5 13
    """,
    "Sandal": """
        poly #a0a0a0 1 22 10 21 20 18.5 30 16 31 24 27.5 24 26.5 20.5 14 24.5 1 25
        line #d6d6d6 1.4 4 22 8 17 13 20.5
        line #d6d6d6 1.4 15 20 20 13 27 11.5 29.5 16
    """,
    "Sneaker": """
        poly #b9b9b9 1.5 20 8 18 14 13 17 11.5 21 13.5 27 12.5 30 11 30.5 22 1.5 22
        poly #ececec 1 21.3 31 21.3 30.5 24 2 24
        line #7d7d7d 0.7 11 16 13 18.5
        line #7d7d7d 0.7 13 14.5 15 17
        line #8d8d8d 0.9 21 14 19 21
    """,
    "Bag": """
        line #9a9a9a 1.3 9.5 12 10.5 5 16 2.5 21.5 5 22.5 12
        poly #b6b6b6 3 11 29 11 30.5 29 1.5 29
        poly #8c8c8c 2.8 11 29.2 11 29 17 16 19 3 17
        oval #e8e8e8 14.7 16.5 17.3 19.5
    """,
    "Ankle boot": """
        poly #ababab 14 3 27 3 28.5 26 2 26 1.5 21.5 6 19.5 12 17 14 13
        poly #6f6f6f 1.5 25 29 25 29 28.5 22 28.5 21.5 26.5 2 26.8
        line #808080 0.8 14 5.5 27 5.5
        line #8a8a8a 0.8 21 6 21 24
    """,
}

DIGITS = {one: f"text #ffffff 34 0.6 {one}" for one in "0123456789"}


def examples(classes: Sequence[str], channels: int) -> dict[str, bytes]:
    """Return the drawings for a network, as PNG files by name: those of its ``classes``, in their
    order; where there is none of them, all things.

    Networks with one channel get grey files.
    """
    drawings = {_key(name): text for name, text in (THINGS | CLOTHES | DIGITS).items()}
    found = {name: drawings[_key(name)] for name in classes if _key(name) in drawings}
    return {name: _png(draw(text), channels) for name, text in (found or THINGS).items()}


def draw(text: str) -> Image.Image:
    """Return a drawing in colour; what no shape covers is black."""
    unit = SIDE * FINE / UNITS
    image = Image.new("RGB", (SIDE * FINE, SIDE * FINE))
    pen = ImageDraw.Draw(image)
    for line in filter(None, map(str.split, text.splitlines())):
        kind, colour, *rest = line
        if kind == "back":
            _blend(pen, colour, rest[0], *(round(float(word) * unit) for word in rest[1:]))
            continue
        character = rest.pop() if kind == "text" else ""
        numbers = [float(word) * unit for word in rest]
        if kind == "poly":
            pen.polygon(numbers, colour)
        elif kind == "oval":
            pen.ellipse(numbers, colour)
        elif kind == "line":
            pen.line(numbers[1:], colour, round(numbers[0]), "curve")
        else:
            size, edge = numbers
            _write(pen, colour, size, edge, character)
    image = image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return image.filter(ImageFilter.GaussianBlur(0.15 * SIDE / UNITS))


def _blend(pen: ImageDraw.ImageDraw, above: str, below: str, top: int, bottom: int) -> None:
    first, last = ImageColor.getrgb(above), ImageColor.getrgb(below)
    for row in range(top, bottom):
        part = (row - top) / (bottom - top)
        mixed = tuple(round(a + part * (b - a)) for a, b in zip(first, last, strict=True))
        pen.line([0, row, SIDE * FINE, row], mixed)


def _write(pen: ImageDraw.ImageDraw, colour: str, size: float, edge: float, text: str) -> None:
    """Write ``text`` in the middle."""
    font = ImageFont.load_default(size)
    left, top, right, bottom = pen.textbbox((0, 0), text, font)
    place = ((SIDE * FINE - left - right) / 2, (SIDE * FINE - top - bottom) / 2)
    pen.text(place, text, colour, font, stroke_width=edge)


def _key(name: str) -> str:
    """Return a class's name as the sources of one data set agree on it: "T - shirt / top"."""
    return "".join(filter(str.isalnum, name)).casefold()


def _png(image: Image.Image, channels: int) -> bytes:
    content = io.BytesIO()
    (image.convert("L") if channels == 1 else image).save(content, "PNG")
    return content.getvalue()
