"""The files of a named data set: listed, fetched into the cache, and checked."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ghostnet_small.data.dataset_card import CARD_FILES, read_card
from ghostnet_small.data.listing import known_splits
from ghostnet_small.errors import InputError
from ghostnet_small.files import checked_json, signed_json, write_atomic
from ghostnet_small.hub.downloads import HubFile, asset_place, checked_file, file_of, read_files
from ghostnet_small.hub.failures import is_offline, is_unreachable

# Few files are fetched one by one, which Ctrl-C ends at once; many are small, and run in parallel.
_MANY, _AT_A_TIME = 32, 8


@dataclass(frozen=True)
class HubPlan:
    """The data that ``datasets`` needs to read one commit of a data set from local files only.

    ``splits`` are the splits that are used, in the source's names, with the paths of their files;
    ``module`` is the reader of ``datasets`` for them, ``options`` its other
    arguments, ``features`` the columns' types where the data set's card gives them.
    """

    repository: str
    commit: str
    module: str
    options: dict[str, Any]
    features: dict[str, Any] | None
    splits: dict[str, list[str]]
    files: dict[str, HubFile] = field(default_factory=dict)

    def signature(self, split: str) -> str:
        """Return text that changes with the content of a split's rows, wherever its files lie."""
        files = self.splits[split]
        made_of = [self.repository, self.commit, self.module, self.options, self.features, files]
        whole = json.dumps(made_of)
        return f"hub {hashlib.sha256(whole.encode()).hexdigest()}"


def fetch_plan(
    repository: str, subset: str | None, revision: str | None
) -> tuple[HubPlan, dict[str, Path], str | None]:
    """The plan of a data set, each of its files in the cache, and a remark where it may be old.

    The server is asked only for the commit where that commit is in the cache already. Where it
    does not answer, the commit that the cache has is used. Files are fetched where they are
    missing, and compared with the digests that the server gave for them: ``huggingface_hub``
    compares sizes only. A file that matched before and has not changed is not read again.

    Raises ``InputError`` for a damaged file, and what ``huggingface_hub`` and ``datasets`` raise.
    """
    place = asset_place("plans", repository, subset, revision)
    known = _read(place)
    remark = None
    try:
        plan = _current_plan(repository, subset, revision, known)
    except Exception as error:
        if known is None or not is_unreachable(error):
            raise
        plan = known
        if not is_offline():
            remark = f"the hub does not answer; {repository} is taken from the cache, as of "
            remark += f"commit {known.commit[:12]}"
    paths = _fetch(plan)
    what = f"data set {repository}"
    checked = {
        path: checked_file(what, path, paths[path], wanted) for path, wanted in plan.files.items()
    }
    if known is None or checked != known.files:
        place.parent.mkdir(parents=True, exist_ok=True)
        plan = dataclasses.replace(plan, files=checked)
        with suppress(FileNotFoundError):  # another process has just written the same
            write_atomic(place, signed_json(dataclasses.asdict(plan)))
    return plan, paths, remark


def _read(place: Path) -> HubPlan | None:
    """Return the stored plan; None where none can be used."""
    try:
        values = checked_json(place)
        return HubPlan(**{**values, "files": read_files(values["files"])})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None  # the server gives a new one


def _current_plan(
    repository: str, subset: str | None, revision: str | None, known: HubPlan | None
) -> HubPlan:
    from huggingface_hub import HfApi, constants

    info = HfApi().dataset_info(
        repository, revision=revision, files_metadata=True, timeout=constants.HF_HUB_ETAG_TIMEOUT
    )
    if known is not None and known.commit == info.sha:
        return known
    return _new_plan(repository, subset, info)


def _new_plan(repository: str, subset: str | None, info: Any) -> HubPlan:
    import datasets
    from huggingface_hub import hf_hub_download

    # Before ``datasets`` follows it: that would open addresses, and files of this machine.
    read_card(
        f"data set {repository}",
        {
            entry.rfilename: Path(
                hf_hub_download(repository, entry.rfilename, repo_type="dataset", revision=info.sha)
            )
            for entry in info.siblings or ()
            if entry.rfilename in CARD_FILES
        },
    )
    # By its commit, so that nothing changes meanwhile.
    builder = datasets.load_dataset_builder(repository, subset, revision=info.sha)
    start = f"hf://datasets/{repository}@{info.sha}/"
    data_files = builder.config.data_files or {}
    if not all(url.startswith(start) for urls in data_files.values() for url in urls):
        raise InputError(
            f"data set {repository} takes files from elsewhere; give a copy with --data.root DIR"
        )
    # Splits of other names are not fetched: some are many times larger than the ones used.
    wanted = known_splits(map(str, data_files), f"data set {repository}").values()
    splits = {name: [url.removeprefix(start) for url in data_files[name]] for name in wanted}
    there = {entry.rfilename: file_of(entry) for entry in info.siblings or ()}
    features = builder.info.features
    return HubPlan(
        repository=repository,
        commit=info.sha,
        module=re.sub(r".*packaged_modules\.(\w+)\..*", r"\1", type(builder).__module__),
        options=_options(builder.config),
        features=None if features is None else features.to_dict(),
        splits=splits,
        files={
            path: there.get(path, HubFile(None, "")) for paths in splits.values() for path in paths
        },
    )


def _options(config: Any) -> dict[str, Any]:
    """Return the card's options for the reader, beside files and columns."""
    told = {}
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if item.name not in (
            "name",
            "version",
            "data_dir",
            "data_files",
            "description",
            "features",
        ):
            default = item.default
            if value != default and isinstance(value, bool | int | float | str):
                told[item.name] = value
    return told


def _fetch(plan: HubPlan) -> dict[str, Path]:
    """Every file of the plan in the cache, fetched where it is not there."""
    from huggingface_hub import hf_hub_download, utils

    def fetch(path: str) -> Path:
        return Path(
            hf_hub_download(plan.repository, path, repo_type="dataset", revision=plan.commit)
        )

    if len(plan.files) <= _MANY:
        return {path: fetch(path) for path in plan.files}
    # One bar for all files in place of one for each.
    utils.disable_progress_bars("huggingface_hub.http_get")
    pool = ThreadPoolExecutor(max_workers=_AT_A_TIME)
    try:
        found = utils.tqdm(
            pool.map(fetch, plan.files), desc=plan.repository, total=len(plan.files), unit="file"
        )
        return dict(zip(plan.files, found, strict=True))
    finally:
        pool.shutdown(cancel_futures=True)
        utils.enable_progress_bars("huggingface_hub.http_get")
