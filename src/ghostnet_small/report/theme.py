"""The colours of a report, light and dark.

Plots are drawn in sentinel colours, one a role, and each role is replaced by a theme's colour or,
in HTML, by a CSS variable. Strategies also differ in marker and dash, for print and for eyes
that do not tell the colours apart (after Okabe and Ito); each contrasts with the page by 4.5 : 1.
"""

from __future__ import annotations

FONT = "system-ui, -apple-system, Segoe UI, Roboto, Helvetica Neue, Arial, sans-serif"

ROLES = ("page", "ink", "muted", "faint", *(f"series-{number}" for number in range(8)))
LIGHT = dict(
    zip(
        ROLES,
        (
            *("#ffffff", "#1c2430", "#5b6675", "#d5dbe2"),
            *("#3d4854", "#0067a8", "#b34a00", "#00735a"),
            *("#9a3f86", "#7a5c00", "#5a50c8", "#a3283f"),
        ),
        strict=True,
    )
)
DARK = dict(
    zip(
        ROLES,
        (
            *("#0f141a", "#e4e9ef", "#9aa6b4", "#333d49"),
            *("#c3ccd6", "#5fb4f2", "#ff9d5c", "#43cfa4"),
            *("#e48fd2", "#e3c04d", "#a9a2ff", "#ff8fa0"),
        ),
        strict=True,
    )
)
# Sentinels: no plot has another use for such near-blacks.
SENTINELS = {role: f"#0{number:x}010{number:x}" for number, role in enumerate(ROLES)}
