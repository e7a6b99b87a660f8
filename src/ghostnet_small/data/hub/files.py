"""The files of a named data set: which there are, fetched into the cache, and checked."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ghostnet_small.data.hub.errors import is_unreachable
from ghostnet_small.data.listing import known_splits
from ghostnet_small.errors import InputError
from ghostnet_small.files import checked_json, signed_json, write_atomic

# Files are fetched one by one, which Ctrl-C ends at once; many are small, and go side by side.
_MANY, _AT_A_TIME = 32, 8


@dataclass(frozen=True)
class HubFile:
    """A file of a commit: its size in bytes and ``sha256:...`` or git's ``sha1:...`` of it.

    A mirror may not tell them: None, and empty. ``seen`` are size and time of change (ns) of the
    cached copy that was right.
    """

    size: int | None
    digest: str
    seen: tuple[int, int] | None = None


@dataclass(frozen=True)
class HubPlan:
    """What ``datasets`` needs to read one commit of a data set, from local files alone.

    ``splits`` are the splits that are used, in the source's names, with the paths of their files;
    ``module`` is the reader of ``datasets`` for them, ``options`` what it is told beside the
    files, ``features`` the columns' types where the data set's card gives them.
    """

    repository: str
    commit: str
    module: str
    options: dict[str, Any]
    features: dict[str, Any] | None
    splits: dict[str, list[str]]
    files: dict[str, HubFile] = field(default_factory=dict)

    def signature(self, split: str) -> str:
        """Changes with what a split's rows are made of, wherever its files lie."""
        files = self.splits[split]
        made_of = [self.repository, self.commit, self.module, self.options, self.features, files]
        whole = json.dumps(made_of)
        return f"hub {hashlib.sha256(whole.encode()).hexdigest()}"


def fetch_plan(
    repository: str, subset: str | None, revision: str | None
) -> tuple[HubPlan, dict[str, Path], str | None]:
    """The plan of a data set, each of its files in the cache, and a remark where it may be old.

    The server is asked for the commit alone where that commit is in the cache already, and where
    it does not answer, the commit that the cache has is taken. Files are fetched where they are
    missing, and compared with the digests that the server gave for them: ``huggingface_hub``
    compares sizes only. A file that was found right and has not changed is not read again.

    Raises ``InputError`` for a damaged file, and whatever ``huggingface_hub`` and ``datasets`` do.
    """
    place = _place(repository, subset, revision)
    known = _read(place)
    remark = None
    try:
        plan = _current_plan(repository, subset, revision, known)
    except Exception as error:
        if known is None or not is_unreachable(error):
            raise
        plan = known
        if not _offline():
            remark = f"the hub does not answer; {repository} is taken from the cache, as of "
            remark += f"commit {known.commit[:12]}"
    paths = _fetch(plan)
    checked = {path: _checked(plan, path, paths[path]) for path in plan.files}
    if known is None or checked != known.files:
        place.parent.mkdir(parents=True, exist_ok=True)
        plan = dataclasses.replace(plan, files=checked)
        with suppress(FileNotFoundError):  # another process has just written the same
            write_atomic(place, signed_json(dataclasses.asdict(plan)))
    return plan, paths, remark


def _place(repository: str, subset: str | None, revision: str | None) -> Path:
    """Where the plan is kept."""
    from huggingface_hub import cached_assets_path

    asked = re.sub(r"[^\w.-]", "-", f"{subset or 'default'}@{revision or 'newest'}")
    folder = cached_assets_path("ghostnet_small", namespace=repository, subfolder="plans")
    # Two names may differ in nothing but what is replaced.
    exact = hashlib.sha256(repr((subset, revision)).encode()).hexdigest()
    return folder / f"{asked}-{exact[:8]}.json"


def _read(place: Path) -> HubPlan | None:
    """The plan that was kept; None where there is none that can be used."""
    try:
        values = checked_json(place)
        files = {
            path: HubFile(entry["size"], entry["digest"], tuple(entry["seen"]))
            for path, entry in values.pop("files").items()
        }
        return HubPlan(**values, files=files)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None  # it is made anew from the server


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

    # By its commit, so that nothing changes under way.
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
    there = {entry.rfilename: HubFile(entry.size, _digest(entry)) for entry in info.siblings or ()}
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


def _digest(entry: Any) -> str:
    if entry.lfs:
        return f"sha256:{entry.lfs['sha256']}"
    return f"sha1:{entry.blob_id}" if entry.blob_id else ""


def _options(config: Any) -> dict[str, Any]:
    """What the card tells the reader, beside files and columns."""
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


def _checked(plan: HubPlan, path: str, local: Path) -> HubFile:
    """The file with what was seen of it; raises ``InputError`` where it is damaged."""
    wanted = plan.files[path]
    status = local.stat()
    seen = (status.st_size, status.st_mtime_ns)
    if seen == wanted.seen:
        return wanted
    if wanted.size not in (None, status.st_size):
        different = "size"
    elif wanted.digest and _digest_of(local, wanted.digest) != wanted.digest:
        different = "checksum"
    else:
        different = ""
    if different:
        raise InputError(
            f"{os.path.realpath(local)}, the cached {path} of data set {plan.repository}, is "
            f"damaged: its {different} is not the one that the hub gives; delete it and start again"
        )
    return dataclasses.replace(wanted, seen=seen)


def _digest_of(local: Path, like: str) -> str:
    algorithm = like.partition(":")[0]
    found = hashlib.new(algorithm)
    if algorithm == "sha1":
        found.update(f"blob {local.stat().st_size}\0".encode())  # as git names a file
    with local.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return f"{algorithm}:{found.hexdigest()}"


def _offline() -> bool:
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE
