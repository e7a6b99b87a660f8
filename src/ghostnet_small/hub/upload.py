"""Upload files as one commit of a model repository of the hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ghostnet_small.errors import InputError
from ghostnet_small.hub.failures import TOKEN, Asked, endpoint, is_offline, one_line_errors
from ghostnet_small.hub.models import HubName

MAIN = "main"


@dataclass(frozen=True)
class Uploaded:
    """A commit, whether this upload made its repository, and the repository's page."""

    commit: str
    created: bool
    url: str


def check_upload(name: HubName) -> None:
    """Raise ``InputError``, before any work, where nothing can be sent: without a token, or
    offline."""
    from huggingface_hub import get_token

    if is_offline():
        raise InputError(f"HF_HUB_OFFLINE forbids sending model {name.repository}; unset it")
    if not get_token():
        raise InputError(
            f"to send model {name.repository} to {endpoint()} needs a token with the right to "
            f"write; give {TOKEN}"
        )


def upload(
    name: HubName, files: Mapping[str, Path], *, private: bool = False, message: str
) -> Uploaded:
    """Send ``files``, by their paths in the repository, as one commit of ``name.revision``.

    That is a branch, ``main`` where none is named; repository and branch are made where they are
    missing, the repository ``private`` where that is asked for. Where nothing has changed, no
    commit is made, and the newest is returned.

    Raises ``InputError`` where the hub cannot be reached or refuses, or a repository that is to be
    ``private`` is there and public.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    repository, branch = name.repository, name.revision or MAIN
    asked = Asked(f"model {repository}", name.revision, "branch", instead="", right="write")
    api = HfApi()
    with one_line_errors(asked):
        created = False
        try:
            found = api.model_info(repository)
            if private and not found.private:
                raise InputError(
                    f"model {repository} is there already, and public; make it private on its "
                    "page first, give another name, or leave out --private"
                )
        except RepositoryNotFoundError:
            # Another may have made it since.
            api.create_repo(repository, private=private, exist_ok=True)
            created = True
        if branch != MAIN:
            api.create_branch(repository, branch=branch, exist_ok=True)
        commit = api.create_commit(
            repository,
            [CommitOperationAdd(path, str(file)) for path, file in files.items()],
            commit_message=message,
            revision=branch,
        )
    return Uploaded(commit.oid, created, f"{endpoint()}/{repository}")
