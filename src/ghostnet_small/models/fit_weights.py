"""The weights that a fit's folder stands for: those of its last finished student."""

from __future__ import annotations

from pathlib import Path

from ghostnet_small.errors import InputError
from ghostnet_small.files import checked_json

# As the room fit writes them.
PLANS, RUNS = "fit.json", ("study", "runs")


def run_of_fit(path: Path) -> Path:
    """Return the folder of the last finished student's run where ``path`` is a fit's folder, and
    ``path`` where it is none.

    Raises ``InputError`` where no student has finished, or ``fit.json`` is damaged.
    """
    file = path / PLANS
    if not file.is_file():
        return path
    try:
        students = [str(row["student"]) for row in checked_json(file)["plans"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{file} is damaged; copy the fit's folder again") from None
    for student in reversed(students):
        # A name: the folder may come from someone else, and leads to nothing outside.
        run = path.joinpath(*RUNS, Path(student).name)
        if (run / "summary.json").is_file():
            return run
    raise InputError(
        f"{path} is a fit's folder, and the training of its network has not ended; go on with: "
        f"ghostnet-small fit IMAGES --out {path}, and the limits that it was begun with"
    )
