"""Numbers and units as a report writes them."""

from __future__ import annotations

from collections.abc import Iterable

from ghostnet_small.report.confidence import Estimate

NONE = "-"
NO_BREAK = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"


def plain(value: float | None, digits: int = 2) -> str:
    """Return a number with ``digits`` digits after the point."""
    return NONE if value is None else f"{value:.{digits}f}".replace("-", MINUS)


def signed(value: float, digits: int = 2) -> str:
    """A difference with its sign, which tells even of +0.00 on which side of zero it lies."""
    return f"{value:{'+' if value else ''}.{digits}f}".replace("-", MINUS)


def count(value: float | None) -> str:
    """A whole number, its thousands set apart."""
    return NONE if value is None else f"{value:,.0f}"


def width_text(width: float | None) -> str:
    """A width as a study file writes it: 1.0, 1.35."""
    if width is None:
        return NONE
    return f"{width:.1f}" if round(width, 1) == width else f"{width:g}"


def spread(one: Estimate | None, digits: int = 2) -> str:
    """The mean, with its sample deviation where there are several."""
    if one is None:
        return NONE
    if one.deviation is None:
        return plain(one.mean, digits)
    return f"{plain(one.mean, digits)} ± {plain(one.deviation, digits)}"


def interval(one: Estimate | None) -> str:
    """The ends of the interval, in brackets."""
    if one is None or one.low is None or one.high is None:
        return NONE
    return f"[{signed(one.low)}, {signed(one.high)}]"


def probability(p: float | None) -> str:
    """A p-value with three digits."""
    return NONE if p is None else "< 0.001" if p < 0.0005 else f"{p:.3f}"


def share(value: float | None) -> str:
    """A share of 0..1 in %."""
    return NONE if value is None else f"{100 * value:.1f} %"


def duration(seconds: float | None) -> str:
    """Seconds in the two units that suit them."""
    if seconds is None:
        return NONE
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def each(values: Iterable[object]) -> str:
    """The values in order, each once."""
    return ", ".join(dict.fromkeys(str(value) for value in values)) or NONE


def counted(number: int, noun: str) -> str:
    """A number and its noun, which ends in s for all but one."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
