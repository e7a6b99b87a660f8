from __future__ import annotations

import copy
from typing import Any

from ghostnet_small.report.accuracy import findings, main_rows, main_table
from ghostnet_small.report.comparison import compare
from ghostnet_small.report.costs import cost_table, failed_table, runs_table
from ghostnet_small.report.facts import facts
from ghostnet_small.report.page import Table
from ghostnet_small.report.study_rows import StudyRecord
from ghostnet_small.report.teacher_tables import (
    agreement_table,
    losses_table,
    targets_table,
    teachers_table,
)
from ghostnet_small.report.words import MINUS
from report_rows import distilled, published, row, study


def shown(table: Table | None) -> list[dict[str, str]]:
    assert table is not None
    titles = [column.title for column in table.columns]
    return [dict(zip(titles, cells, strict=True)) for cells in table.rows]


def main(content: StudyRecord) -> list[dict[str, str]]:
    return shown(main_table(compare(content)))


def test_the_main_table_shows_means_paired_differences_and_verdicts() -> None:
    base, kd = main(study())
    assert base == {
        "strategy": "base",
        "width": "1.0",
        "n": "3",
        "seeds": "0, 1, 2",
        "test top-1, %": "81.00 ± 1.00",
        "difference, points": "-",
        "95 % interval": "-",
        "p, corrected": "-",
        "verdict": "baseline",
    }
    assert kd["test top-1, %"] == "82.03 ± 1.05"
    assert kd["difference, points"] == "+1.03"
    assert kd["95 % interval"] == "[+0.89, +1.18]"
    # A mean of 1.0333 with a deviation of 0.0577: t = 31, two degrees of freedom.
    assert (kd["p, corrected"], kd["verdict"]) == ("0.001", "significant, better")


def test_several_strategies_are_corrected_for_how_many_they_are() -> None:
    content = study()
    for k in range(60):
        content.rows.extend(row(f"x{k}-{s}", f"x{k}", s, 80.0 + s + s * k) for s in range(3))
    lines = {line["strategy"]: line for line in main(content)}
    # The first of them equals the baseline in each seed, and is not tested: 60 x 0.00104.
    assert lines["x0"]["p, corrected"] == "-"
    assert lines["kd"]["95 % interval"] == "[+0.89, +1.18]"
    assert (lines["kd"]["p, corrected"], lines["kd"]["verdict"]) == (
        "0.062",
        "no significant difference",
    )
    note = main_table(compare(content))
    assert note is not None and "60 tested differences" in note.note


def test_the_figures_of_the_main_table_are_handed_back() -> None:
    base, kd = main_rows(compare(study()))
    assert (base["top1"], base["deviation"], base["n"], base["seeds"]) == (81.0, 1.0, 3, [0, 1, 2])
    assert base["difference"] is None and not base["real"]
    assert round(kd["difference"], 4) == 1.0333
    assert (round(kd["low"], 3), round(kd["high"], 3), kd["real"]) == (0.890, 1.177, True)


def test_one_seed_is_n_1_whatever_the_difference() -> None:
    content = study(row("base", "base", 0, 10.0), row("kd", "kd", 0, 90.0))
    _, kd = main(content)
    assert (kd["test top-1, %"], kd["difference, points"]) == ("90.00", "+80.00")
    assert (kd["95 % interval"], kd["verdict"]) == ("-", "n = 1")
    (finding,) = findings(compare(content))
    assert "one common seed only, which shows nothing" in finding
    assert "better" not in finding


def test_a_difference_within_the_noise_is_not_told_apart() -> None:
    rows = [row(f"base-{s}", "base", s, 80.0) for s in (0, 1)]
    rows += [row(f"kd-{s}", "kd", s, 80.5 + s) for s in (0, 1)]
    _, kd = main(study(*rows))
    assert (kd["difference, points"], kd["95 % interval"]) == ("+1.00", f"[{MINUS}5.35, +7.35]")
    assert kd["verdict"] == "no significant difference"


def test_verdicts_where_nothing_can_be_compared() -> None:
    rows = [row("b", "base", 0), row("other", "kd", 1), row("wide", "kd", 0, width=2.0)]
    base, other, wide = main(study(*rows))
    assert base["verdict"] == "baseline"
    assert other["verdict"] == "no common seed"
    assert wide["verdict"] == "no baseline"
    assert {line["difference, points"] for line in (base, other, wide)} == {"-"}


def test_an_interval_says_how_many_pairs_it_rests_on_where_it_is_not_n() -> None:
    content = study()
    content.rows.append(distilled("kd-7", "kd", 7, 99.0))
    _, kd = main(content)
    assert kd["n"] == "4"
    assert kd["95 % interval"] == "[+0.89, +1.18] of 3 pairs"


def test_strategies_stand_in_the_order_of_the_rows_behind_the_baseline() -> None:
    rows = [row("z", "zeta", 0), row("a", "alpha", 0), row("w", "base", 0, width=2.0)]
    rows.append(row("b", "base", 0))
    lines = [(line["width"], line["strategy"]) for line in main(study(*rows))]
    assert lines == [("1.0", "base"), ("1.0", "zeta"), ("1.0", "alpha"), ("2.0", "base")]


def test_published_figures_have_a_labelled_column_only_where_there_are_some() -> None:
    label = "paper, % (other conditions)"
    assert label not in main(study())[0]
    content = study(published=published(base={1.0: 91.37}, kd={2.8: 93.58}))
    base, kd = main(content)
    assert (base[label], kd[label]) == ("91.37", "-")
    table = main_table(compare(content))
    assert "A Paper, table 1" in table.note and "other conditions" in table.note


def test_the_best_epoch_on_test_has_a_labelled_column_only_where_rows_have_it() -> None:
    label = "best epoch chosen on test, %"
    assert label not in main(study())[0]
    content = study()
    content.rows[1]["best_on_test"] = {"epoch": 1, "top1": 84.5}
    base, kd = main(content)
    assert (base[label], kd[label]) == ("84.50", "-")


def test_without_a_test_split_validation_is_judged_and_named() -> None:
    content = study()
    for one in content.rows:
        for key in [key for key in one["last"] if key.startswith("test_")]:
            del one["last"][key]
    base, _ = main(content)
    assert base["validation top-1, %"] == "82.00 ± 1.00"
    told = dict(facts(content, compare(content)))
    assert told["judged on"].startswith("the validation split, for no run has read a test split")


def test_a_run_without_test_is_not_judged_by_validation_beside_others() -> None:
    content = study(row("base", "base", 0, 80.0), row("kd", "kd", 0, 81.0))
    del content.rows[1]["last"]["test_top1"]
    _, kd = main(content)
    assert (kd["n"], kd["test top-1, %"]) == ("0", "-")


def test_the_head_counts_runs_and_names_data_device_and_commits() -> None:
    content = study(failed=[{"run": "x", "status": "failed", "reason": "y"}])
    changed = copy.deepcopy(content.rows[1])
    changed.update(dirty=True, seed=5, device={"kind": "cuda", "name": "A GPU", "threads": 2})
    content.rows.append(changed)
    told = dict(facts(content, compare(content)))
    assert told["runs"] == "8 of 9 finished, 1 failed or not started"
    assert told["seeds"] == "0, 1, 2, 5"
    assert told["data"] == (
        "900 train + 100 validation + 1,000 test images, 3 classes (fingerprint 0123456789ab)"
    )
    assert told["device"] == "A CPU (2 threads), A GPU"
    assert told["commit"] == "fedcba98, fedcba98 with changes"
    assert told["training time"] == "1 h 20 min in all"


def test_teachers_are_shown_with_what_taught_them_those_from_elsewhere_last() -> None:
    content = study()
    assistant = distilled("assistant", None, 0, 85.0, width=2.0)
    content.rows.insert(1, assistant)
    teacher, helper, elsewhere = shown(teachers_table(compare(content)))
    assert (teacher["teacher"], teacher["distilled from"]) == ("teacher-a", "none (labels only)")
    assert (teacher["test top-1, %"], teacher["parameters, deployed"]) == ("91.00", "1,000")
    assert (helper["teacher"], helper["distilled from"]) == ("assistant", "teacher-a")
    assert elsewhere["teacher"] == "elsewhere"
    assert elsewhere["distilled from"] == "from elsewhere, weights c0ffeec0"
    assert (elsewhere["network"], elsewhere["test top-1, %"]) == ("resnet18", "90.50")


def test_losses_and_targets_are_those_of_the_distilled_runs() -> None:
    comparison = compare(study())
    (loss,) = shown(losses_table(comparison))
    assert (loss["strategy"], loss["loss"], loss["temperature"]) == ("kd", "kd", "4")
    assert (loss["weight of labels"], loss["weight of teacher"]) == ("0.1", "0.9")
    assert loss["teachers"] == "0.5 elsewhere + 0.5 teacher-a"
    (targets,) = shown(targets_table(comparison, [3]))
    assert targets == {
        "strategy": "kd",
        "n": "3",
        "T": "4",
        "entropy at T, nats": "0.900",
        "entropy at T = 1, nats": "0.125",
        "most possible, ln K": "1.099",
        "largest above 0.98, at T": "25.0 %",
        "above 0.98, at T = 1": "75.0 %",
        "teacher right on training views, %": "97.25",
        "teacher right on test, %": "91.25",
    }


def test_targets_are_means_over_the_seeds() -> None:
    content = study()
    content.rows[-1]["distill"]["targets"]["entropy"] = 0.3
    (targets,) = shown(targets_table(compare(content), [3]))
    assert targets["entropy at T, nats"] == "0.700"


def test_calibration_agreement_and_cost() -> None:
    content = study()
    content.rows[-1]["last"]["test_calibration_error"] = 0.05
    base, kd = shown(agreement_table(compare(content)))
    assert (base["calibration error"], base["agreement with teacher, %"]) == (
        "0.0200 ± 0.0000",
        "-",
    )
    assert kd["calibration error"] == "0.0300 ± 0.0173"
    assert kd["agreement with teacher, %"] == "88.50 ± 0.00"
    base, _ = shown(cost_table(compare(content)))
    assert (base["parameters, deployed"], base["MACs, deployed"]) == ("1,000", "20,000")
    assert (base["training time"], base["images/s"]) == ("10 min", "1,234")


def test_every_run_is_shown_the_failed_with_their_reasons() -> None:
    content = study()
    lines = shown(runs_table(compare(content)))
    assert [line["run"] for line in lines] == ["teacher-a", *(f"base-{s}" for s in range(3))] + [
        f"kd-{s}" for s in range(3)
    ]
    assert lines[1]["correct / images"] == "800 / 1,000"
    assert (lines[0]["strategy"], lines[1]["epochs"], lines[1]["seed"]) == ("teacher", "2", "0")
    failed = [{"run": "kd-9", "status": "not started", "reason": "its teacher failed"}]
    assert shown(failed_table(failed)) == failed


def test_rows_that_lack_everything_give_dashes() -> None:
    bare: list[dict[str, Any]] = [{}, {"study": None}, {"study": {"strategy": "kd"}}]
    bare += [{"study": {"strategy": "kd", "run": "x"}, "distill": {"targets": 3, "teachers": [7]}}]
    odd = row("nan", "kd")
    odd["last"] = {"test_top1": float("nan"), "validation_top1": "81", "test_loss": True}
    odd.update(epochs=[7, {}], wall_seconds=True, data=[], libraries=3, model={"params": 4})
    comparison = compare(study(*bare, odd))
    lines = shown(main_table(comparison))
    assert {line["validation top-1, %"] for line in lines} == {"-"}
    assert len(shown(runs_table(comparison))) == 5
    costs = shown(cost_table(comparison))
    assert {(line["parameters, deployed"], line["training time"]) for line in costs} == {("-", "-")}
    (targets,) = shown(targets_table(comparison, [0]))
    assert targets["entropy at T, nats"] == targets["most possible, ln K"] == "-"
