"""A running comparison of deployments, with its results so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from ghostnet_small.benchmark.deploy_candidates import (
    OPENING,
    Candidate,
    peer_candidates,
    peer_networks,
)
from ghostnet_small.benchmark.deploy_latencies import (
    calls_of,
    first_look,
    latency,
    timed_turns,
    verdict,
)
from ghostnet_small.benchmark.deploy_subject import Ours
from ghostnet_small.data.dataset import Split
from ghostnet_small.data.split import stratified_rows
from ghostnet_small.deploy.c.compiled import compiler_version
from ghostnet_small.deploy.formats import FORMATS
from ghostnet_small.deploy.peak_memory import NotMeasured, peak_memory
from ghostnet_small.deploy.session import Array
from ghostnet_small.errors import InputError
from ghostnet_small.files import cache_root, temporary_folder
from ghostnet_small.models.peers import PEERS
from ghostnet_small.provenance import provenance_row, versions_of
from ghostnet_small.train.evaluate import score
from ghostnet_small.use.agreement import shown
from ghostnet_small.use.classifier import feed, first_line
from ghostnet_small.use.export_cache import KeptExports

EVALUATED = 250  # images at once
QUICK_JUDGED = 2000  # images of the split, of each class its share


class ComparisonWatcher(Protocol):
    """Observes the preparation and measurement of candidates."""

    def say(self, text: str) -> None:
        """Take a remark, which stays."""

    def doing(self, text: str, *, passing: bool = False) -> None:
        """Take the step that begins; ``passing``: it is so short that no log needs it."""

    def prepared(self, row: dict[str, Any]) -> None:
        """Note that a candidate can be timed, with its ``first_look_ms``, or has ``failed``."""

    def timed(self, rows: Sequence[dict[str, Any]], batch: int, turn: int, turns: int) -> None:
        """Note that all candidates have had a ``turn``: ``rows`` have their latencies so far."""


class DeployComparison:
    """A running comparison: at any time ``value`` returns its results so far."""

    def __init__(
        self,
        ours: Ours,
        *,
        threads: int,
        batches: Sequence[int],
        turns: int,
        calls: int,
        split: str | None,
        quick: bool,
        left_out: Sequence[str],
        watcher: ComparisonWatcher,
        stopped: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        self.ours, self.threads, self.batches = ours, threads, batches
        self.turns, self.calls, self.clock = turns, calls, clock
        self.split, self.quick, self.left_out = split, quick, list(left_out)
        self.watcher, self.stopped = watcher, stopped
        self.kept = KeptExports(cache_root(), watcher.say)
        self.pictures: Split | None = None
        self.found: list[Candidate] = []
        self.rows: dict[str, dict[str, Any]] = {}
        self.step = "reading"

    def measure(self, peers: Sequence[str], overrides: Sequence[str]) -> None:
        """Prepare the candidates, each with a first look as soon as possible; then time them in
        turn, and measure the rest."""
        ours = self.ours
        self._doing("reading the data")
        if self.split is not None:
            self.pictures = ours.split(self.split, overrides, self.watcher.say)
            if self.quick and len(self.pictures) > QUICK_JUDGED:
                labels = self.pictures.labels.cpu()
                rows = stratified_rows(labels, QUICK_JUDGED, seed=0, least=0, spare=0)
                few = self.pictures.take(rows)
                self.pictures = Split(few.images, few.labels, few.index)
        shown_pictures = shown(None, ours.info).images if self.pictures is None else self.pictures
        images = _enough(shown_pictures, max(self.batches))
        with temporary_folder() as folder:
            self.found = ours.candidates(folder / "ours", self.kept)
            self.found += peer_candidates(
                peer_networks(peers),
                ours.formats,
                folder,
                like=ours.description,
                threads=self.threads,
                pictures=images,
                precisions=ours.precisions,
                kept=self.kept,
            )
            self._prepare(feed(images[:1], ours.description))
            for batch in self.batches:
                self._time(feed(images[:batch], ours.description))
                if batch == self.batches[0]:
                    self._judge()
            if not self.quick:
                self._weigh()

    def value(self, stopped_at: str | None = None) -> dict[str, Any]:
        """Return the results so far; ``stopped_at``: the step at which it was stopped."""
        ours = self.ours
        rows = [self.rows[one] for one in self._names if one in self.rows]
        return {
            "model": ours.description.architecture,
            "width": ours.description.width,
            "picture": [ours.description.channels, *ours.description.size],
            "classes": len(ours.description.classes),
            "input": ours.description.input,
            "split": self.split,
            "pictures": None if self.pictures is None else len(self.pictures),
            "threads": self.threads,
            "batches": list(self.batches),
            "turns": self.turns,
            "calls": {str(batch): calls_of(batch, self.calls) for batch in self.batches},
            "quick": self.quick,
            "left_out": self.left_out,
            "partial": stopped_at,
            "candidates": rows,
            "verdict": {kind: verdict(rows, kind) for kind in ("float32", "int8")},
            "versions": _versions(ours),
            "torch": str(torch.__version__),
            **provenance_row(),
        }

    @property
    def _names(self) -> list[str]:
        return [candidate.name for candidate in self.found]

    def _doing(self, step: str, *, passing: bool = False) -> None:
        self._look()
        self.step = step
        self.watcher.doing(step, passing=passing)

    def _look(self) -> None:
        """Interrupt if asked to: a library in C may have turned it into its own error."""
        if self.stopped():
            raise KeyboardInterrupt

    def _prepare(self, picture: Array) -> None:
        # Those that need no file are ready at once.
        order = sorted(self.found, key=lambda one: one.making is not None)
        for number, candidate in enumerate(order, start=1):
            about = f"candidate {number} of {len(order)}, {candidate.name}"
            candidate.prepare(self.threads, partial(self._preparing, about))
            self._look()
            row = _about(candidate)
            if candidate.run is not None:
                with suppress(Exception):  # the error occurs again when it is timed
                    row["first_look_ms"] = 1000 * first_look(partial(candidate.run, picture))
            self._look()
            self.rows[candidate.name] = row
            self.watcher.prepared(row)

    def _preparing(self, about: str, what: str) -> None:
        self._doing(f"{what} {about}", passing=what == OPENING)

    def _time(self, pictures: Array) -> None:
        """Note the latencies of all candidates that run, after each round."""
        batch = len(pictures)
        running = [candidate for candidate in self.found if candidate.run is not None]
        about = f"timing {len(running)} candidates in turn, batches of {batch}"
        self._doing(about)
        works: dict[str, Callable[[], object]] = {}
        for candidate in running:
            assert candidate.run is not None
            try:
                candidate.run(pictures)
            except Exception as error:
                self._look()
                self.rows[candidate.name]["failed"] = f"batches of {batch}: {first_line(error)}"
                continue
            works[candidate.name] = partial(candidate.run, pictures)
        taken: dict[str, list[list[float]]] = {name: [] for name in works}
        calls = calls_of(batch, self.calls)
        timed = timed_turns(works, turns=self.turns, calls=calls, clock=self.clock)
        with closing(timed):
            for number, (name, seconds) in enumerate(timed, start=1):
                taken[name].append(seconds)
                turn, place = divmod(number, len(works))
                if place:
                    self._doing(f"{about}: turn {turn + 1} of {self.turns}, {place}", passing=True)
                    continue
                # An unfinished round does not count: ratios are taken within one.
                figures = {name: latency(turns, batch) for name, turns in taken.items()}
                for name, found in figures.items():
                    self.rows[name]["latency"] = {**self.rows[name]["latency"], str(batch): found}
                self.watcher.timed([self.rows[name] for name in works], batch, turn, self.turns)

    def _judge(self) -> None:
        """Measure the top-1 (%) of our network; with ``quick``, only of its exports."""
        if self.pictures is None:
            return
        self._doing(f"evaluating on the {self.split} split")
        labels = self.pictures.labels.cpu()
        for candidate in self.found:
            if candidate.peer is not None or candidate.run is None:
                continue
            if self.quick and not candidate.exported:
                continue
            self._doing(f"evaluating on the {self.split} split: {candidate.name}", passing=True)
            parts = []
            for images in self.pictures.images.split(EVALUATED):
                parts.append(torch.from_numpy(candidate.run(feed(images, self.ours.description))))
                self._look()
            judged = score(torch.cat(parts), labels)
            measured = {"top1": judged.top1, "correct": judged.correct, "top1_source": "measured"}
            self.rows[candidate.name] |= measured

    def _weigh(self) -> None:
        """Note the most memory of each file."""
        files = {one.name: one.file for one in self.found if one.run is not None and one.file}
        for candidate in self.found:
            # The memory of the sessions must not reduce that of those processes.
            candidate.run = candidate.making = None
        self._doing("measuring memory, each in a process of its own")
        for number, (name, file) in enumerate(files.items(), start=1):
            self._doing(f"measuring memory, {number} of {len(files)}: {name}", passing=True)
            try:
                peaks = peak_memory(file, self.batches, self.threads)
            except NotMeasured as error:
                self._look()
                row = self.rows[name]
                about = f"{row['network']}, {row['runtime']}, {row['precision']}"
                self.watcher.say(f"no peak memory of {about}: {error}")
                continue
            self.rows[name] |= {
                "peak_memory_bytes": {str(batch): one.above for batch, one in peaks.items()},
                "process_memory_bytes": {str(batch): one.peak for batch, one in peaks.items()},
            }


def _enough(pictures: Tensor | Split, count: int) -> Tensor:
    """Return at least ``count`` images, uint8 ``(N, C, H, W)``, some repeated if needed."""
    images = pictures.images if isinstance(pictures, Split) else pictures
    least = max(count, min(len(images), 512))
    return images[torch.arange(least) % len(images)]


def _about(candidate: Candidate) -> dict[str, Any]:
    """Return a row of the results with what is known of a candidate before it is run."""
    published = None if candidate.peer is None else PEERS[candidate.peer].published_top1
    cost = candidate.cost
    return {
        "network": candidate.title,
        "peer": candidate.peer,
        "runtime": candidate.runtime,
        "exported": candidate.exported,
        "precision": candidate.precision,
        "params": None if cost is None else cost.params,
        "macs": None if cost is None else cost.macs,
        "size_bytes": candidate.size_bytes,
        "relative_error": candidate.relative_error,
        "agreement": candidate.agreement,
        "top1": published if candidate.precision == "float32" else None,
        "top1_source": None if published is None else "published",
        "correct": None,
        "first_look_ms": None,
        "latency": {},
        "peak_memory_bytes": {},
        "process_memory_bytes": {},
        "failed": candidate.failed,
    }


def _versions(ours: Ours) -> dict[str, str]:
    """The versions of what runs our files; of C, the compiler."""
    names = [form.name for form in ours.formats]
    found = versions_of([module for name in names for module in FORMATS[name].modules])
    if "c" in names:
        with suppress(InputError):  # its candidate says so
            found["c"] = compiler_version()
    return found
