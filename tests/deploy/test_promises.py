"""Exported programs that promise more than they hold."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from export_readers import exported
from ghostnet_small.deploy.formats import open_file
from ghostnet_small.errors import InputError


def test_a_weight_of_more_numbers_than_its_file_has(tmp_path: Path) -> None:
    """With steps of 0 one number could be taken for as many as would fill the memory."""
    path = exported("torch", "normalized", tmp_path)
    open_file(path)
    with zipfile.ZipFile(path) as archive:
        records = [(info.filename, archive.read(info)) for info in archive.infolist()]
    changed = tmp_path / "changed.pt2"
    with zipfile.ZipFile(changed, "w") as archive:
        for name, content in records:
            if name.endswith("model_weights_config.json"):
                content = json.dumps(_huge(json.loads(content))).encode()
            archive.writestr(name, content)
    with pytest.raises(InputError, match=r"changed\.pt2 is damaged .* more numbers than its file"):
        open_file(changed)


def _huge(config: dict[str, Any]) -> dict[str, Any]:
    for weight in config["config"].values():
        weight["tensor_meta"]["sizes"] = [{"as_int": 1 << 20}] * 2
        weight["tensor_meta"]["strides"] = [{"as_int": 0}] * 2
    return config
