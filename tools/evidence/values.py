"""Figures within a document's sentences, read from rows.

``<!-- value: NAME recipe="w1.0, 16 epochs" test_top1 -->87.16 ± 0.42 % (n = 3)<!-- end value -->``
is one: the text between the marks is made again; ``value_text`` has the forms.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from evidence.fields import (
    FIELDS,
    PERCENT,
    difference,
    difference_text,
    field_text,
    percent,
    verdict,
)
from evidence.paper_effect import effect_text
from evidence.recipe_facts import Fact, read_facts
from evidence.rows import Rows, chosen, named_rows
from ghostnet_small.errors import InputError
from ghostnet_small.recipe.shipped_recipes import find_study, shipped_studies
from ghostnet_small.report.comparison import compare
from ghostnet_small.report.study_report import study_record
from ghostnet_small.run.records import look
from ghostnet_small.study.study_file import read_study_file
from ghostnet_small.study.study_plan import read_study

_VALUE = re.compile(
    # Code shows how a value is written, and is none.
    r"(?P<code>^```.*?^```$|`[^`\n]+`)"
    r"|(?P<start>^[ \t>]*(?:(?:[*+-]|\d+[.)])[ \t]+)?)?<!-- value: (?P<asked>.*?) -->"
    r".*?(?P<end><!-- end value -->|\Z|(?=<!-- value: ))",
    re.MULTILINE | re.DOTALL,
)
PUBLISHED = "published"
MINUS = "minus"
NEXT = "next"
_FACT_FIELDS = ("top1", "params", "macs", "flash", "ram", "what", "way", "source")


def render_values(text: str, results: Path, where: str) -> str:
    """Return ``text`` with each of its marked values made again from the rows in ``results``.

    Raises ``InputError`` where a value has no end, begins a line, or asks for what there is not.
    """

    def render(found: re.Match[str]) -> str:
        if found["code"] is not None:
            return found[0]
        asked = " ".join(found["asked"].split())
        if not found["end"]:
            raise InputError(
                f"value {asked!r} of {where} has no end; write <!-- end value --> after it"
            )
        if found["start"] is not None:
            raise InputError(
                f"value {asked!r} of {where} begins a line, which Markdown then takes for HTML as "
                "it is; move a word before it"
            )
        value = value_text(asked, results)
        return f"<!-- value: {found['asked']} -->{value}<!-- end value -->"

    return _VALUE.sub(render, text)


def value_text(asked: str, results: Path) -> str:
    """Return the text for ``asked``, which has one of these forms.

    - ``NAME key=value ... FIELD``: of the runs in the file of trainings NAME that the keys choose
      (``SELECTORS``), which differ only in their seed: mean ± sample deviation in % with n
      (``PERCENT``), or what they share (``FIELDS``), or ``published``, of a strategy of a study.
    - ``NAME key=value ... minus key=value ... FIELD``: a difference in points with its 95 %
      interval and n, paired by seed where there are common seeds; ``verdict`` says whether it is
      significant in top-1 of the last epoch on test, in a study corrected for its differences to
      the baseline.
    - ``published NAME FIELD``: of ``published.yaml``.
    - ``published distillation``: its effect in the paper's own tables.
    - ``next STUDY``: the missing runs of a shipped study, and what they cost.

    Raises ``InputError`` at anything else, with what there is.
    """
    try:
        words = shlex.split(asked)
    except ValueError as error:
        raise InputError(f"value {asked!r} cannot be read ({error}); close its quotes") from None
    where = f"value {asked!r}"
    if len(words) < 2:
        raise InputError(
            f'{where} says too little; write such as: cifar10-cpu recipe="w1.0, 8 epochs" test_top1'
        )
    name, *keys, field = words
    if name == NEXT and not keys:
        return _next_text(field, results, where)
    if words == [PUBLISHED, "distillation"]:
        files = (read_study_file(find_study(name)) for name in ("paper", "paper-gnd"))
        return effect_text([study.published["top1"] for study in files])
    if name == PUBLISHED:
        return _fact_text(read_facts(results), keys, field, where)
    rows = named_rows(results, name)
    if MINUS in keys:
        place = keys.index(MINUS)
        one = chosen(rows, keys[:place], where)
        other = chosen(rows, keys[place + 1 :], where)
        if field == "verdict":
            return _verdict(results / name, one, other, where)
        if field not in PERCENT:
            raise InputError(
                f"{field!r} of {where} has no difference; choose one of "
                f"{', '.join((*PERCENT, 'verdict'))}"
            )
        return difference_text(one, other, field)
    runs = chosen(rows, keys, where)
    if field == PUBLISHED:
        return _published_text(results / name, runs, where)
    if field in PERCENT:
        return percent(runs, field, where)
    if field not in FIELDS:
        raise InputError(
            f"field {field!r} of {where} is unknown; choose one of "
            f"{', '.join((*PERCENT, *FIELDS, PUBLISHED))}"
        )
    return field_text(runs, field)


def _fact_text(facts: dict[str, Fact], names: Sequence[str], field: str, where: str) -> str:
    if len(names) != 1 or names[0] not in facts:
        there = ", ".join(facts) or "none, for there is no published.yaml beside the rows"
        raise InputError(f"{where} names no published figure; choose one of {there}")
    if field not in _FACT_FIELDS:
        raise InputError(f"field {field!r} of {where} is unknown; choose {', '.join(_FACT_FIELDS)}")
    fact = facts[names[0]]
    if field == "top1":
        return f"{fact.top1_text} %"
    value = getattr(fact, field)
    if value is None:
        raise InputError(f"{where}: its source states no {field}; take another field")
    if field in ("flash", "ram"):
        return f"{value / 1000:.0f} kB"
    return value if isinstance(value, str) else f"{value / 1e6:.3g} M"


def _next_text(study: str, results: Path, where: str) -> str:
    from evidence.queue_page import next_text

    if study not in shipped_studies():
        raise InputError(f"{where} names no study; choose one of {', '.join(shipped_studies())}")
    return next_text(study, results)


def _verdict(folder: Path, one: Rows, other: Rows, where: str) -> str:
    if look(one[0], "study", "strategy") is None or look(other[0], "study", "strategy") is None:
        return verdict(difference(one, other, "test_top1"))
    comparison = compare(study_record(folder))
    named = [
        (look(runs[0], "study", "width"), look(runs[0], "study", "strategy"))
        for runs in (one, other)
    ]
    found = [comparison.differences[key] for key in named if key in comparison.differences]
    if len(found) != 1 or comparison.baseline not in (named[0][1], named[1][1]):
        raise InputError(
            f"{where} is of no difference to the baseline {comparison.baseline}, for which "
            "p-values are corrected; ask for its test_top1, or show the table of factors"
        )
    return verdict(found[0], comparison.tested)


def _published_text(folder: Path, runs: Rows, where: str) -> str:
    study = read_study(folder)
    published = {} if study is None or study.published is None else study.published.top1
    strategy, width = look(runs[0], "study", "strategy"), look(runs[0], "study", "width")
    if strategy not in published or width not in published[strategy]:
        there = [f"{name} {width:g}" for name, row in published.items() for width in row]
        raise InputError(
            f"{where}: {folder} has no published figure of {strategy} at width {width}; there are "
            f"{', '.join(there) or 'none'}"
        )
    return f"{published[strategy][width]:.2f} %"
