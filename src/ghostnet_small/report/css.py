"""The style sheet of the page."""

from __future__ import annotations

from collections.abc import Mapping

from ghostnet_small.report.theme import DARK, FONT, LIGHT


def _variables(theme: Mapping[str, str]) -> str:
    return " ".join(f"--{role}: {colour};" for role, colour in theme.items())


_RULES = """
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem;
  background: var(--page); color: var(--ink); font: 1rem/1.55 var(--font);
}
h1, h2 { line-height: 1.2; letter-spacing: -0.01em; text-wrap: balance; overflow-wrap: anywhere; }
h1 { margin: 0 0 0.75rem; font-size: 2rem; }
h2 { margin: 0 0 1rem; font-size: 1.3rem; scroll-margin-top: 1rem; }
p { max-width: 44rem; margin: 0 0 0.75rem; overflow-wrap: anywhere; }
a { color: var(--series-1); }
.kind { margin: 0 0 0.25rem; color: var(--muted); font-size: 0.875rem; }
.about { font-size: 1.075rem; }
.findings { margin: 1.5rem 0; padding: 0.1rem 0 0.1rem 1.1rem; border-left: 3px solid var(--ink); }
.findings h2 { margin: 0 0 0.35rem; font-size: 1rem; }
.findings ul { margin: 0; padding-left: 1.1rem; }
.findings li { max-width: 44rem; overflow-wrap: anywhere; }
.facts {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr));
  gap: 0.9rem 2rem; margin: 1.5rem 0; font-size: 0.925rem;
}
.facts dt { color: var(--muted); font-size: 0.8125rem; }
.facts dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
nav { padding: 0.6rem 0; border-block: 1px solid var(--faint); font-size: 0.875rem; }
nav ul { display: flex; flex-wrap: wrap; gap: 0.2rem 1.1rem; margin: 0; padding: 0; }
nav li { list-style: none; }
nav a { text-decoration: none; }
nav a:hover { text-decoration: underline; }
main > section { margin-top: 3rem; }
.scroll, .plot { overflow-x: auto; }
.scroll { margin: 0 0 0.75rem; }
table {
  border-collapse: collapse; min-width: 100%;
  font-size: 0.875rem; line-height: 1.4; font-variant-numeric: tabular-nums;
}
caption { padding-bottom: 0.5rem; text-align: left; font-size: 0.925rem; font-weight: 600; }
caption span { display: inline-block; position: sticky; left: 0; max-width: calc(100vw - 2.5rem); }
th, td { padding: 0.35rem 0.7rem; text-align: left; vertical-align: baseline; }
th:first-child, td:first-child { padding-left: 0; }
th:last-child, td:last-child { padding-right: 0; }
td, tbody th { white-space: nowrap; }
tbody th { position: sticky; left: 0; background: var(--page); }
td.long, th.long { min-width: 13rem; white-space: normal; overflow-wrap: anywhere; }
thead th {
  border-bottom: 1.5px solid var(--ink); vertical-align: bottom;
  color: var(--muted); font-weight: 500; line-height: 1.25; text-wrap: balance;
}
tbody th { font-weight: 500; }
tbody tr:not(:first-child) > * { border-top: 1px solid var(--faint); }
tbody + tbody > tr:first-child > * { border-top: 1.5px solid var(--muted); }
.number { text-align: right; }
.strong { font-weight: 700; }
.note, figcaption, footer { color: var(--muted); font-size: 0.875rem; line-height: 1.5; }
figure { margin: 1.75rem 0 0; }
figcaption { max-width: 44rem; margin-top: 0.5rem; }
.plot svg { display: block; width: 100%; height: auto; min-width: 42rem; }
.plot img { display: block; height: auto; max-width: 100%; min-width: min(42rem, 180%); }
@media (prefers-color-scheme: dark) { .plot img { filter: brightness(0.85); } }
.plot svg * { stroke-linejoin: round; stroke-linecap: butt; }
footer { margin-top: 3.5rem; padding-top: 1rem; border-top: 1px solid var(--faint); }
footer p { max-width: none; font-size: 0.8125rem; }
@media (max-width: 40rem) { tbody th, th.long { min-width: 7rem; white-space: normal; } }
:focus-visible { outline: 2px solid var(--series-1); outline-offset: 2px; }
"""

_PRINT = """
  @page { margin: 1.5cm; }
  html { font-size: 10pt; }
  body { max-width: none; padding: 0; }
  nav { display: none; }
  h2, caption, thead { break-after: avoid; }
  figure, tr, .whole, .findings, .facts { break-inside: avoid; }
  thead { display: table-header-group; }
  main > section { margin-top: 1.75rem; }
  .scroll, .plot { overflow: visible; }
  tbody th { position: static; }
  .plot svg { min-width: 0; max-height: 24cm; }
  .plot img { min-width: 0; max-height: 11cm; filter: none; }
  table { font-size: 8pt; }
  th, td { padding: 0.25rem 0.4rem; }
  td.long, th.long { min-width: 7rem; }
"""

CSS = f"""\
:root {{ color-scheme: light dark; --font: {FONT}; {_variables(LIGHT)} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_variables(DARK)} }} }}
{_RULES.strip()}
@media print {{
  :root {{ color-scheme: light; {_variables(LIGHT)} }}{_PRINT.rstrip()}
}}
"""
