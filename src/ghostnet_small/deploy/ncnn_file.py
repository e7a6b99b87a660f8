"""ncnn's format for phones: a text of layers, ``.ncnn.param``, and their weights, ``.ncnn.bin``."""

from __future__ import annotations

import hashlib
import subprocess
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ghostnet_small.deploy.deployable import Deployable
from ghostnet_small.deploy.description import KEY, Description, read_description
from ghostnet_small.deploy.formats import FORMATS
from ghostnet_small.deploy.quiet import quiet_stderr
from ghostnet_small.deploy.rewrite import Style, rewrite
from ghostnet_small.deploy.session import Array
from ghostnet_small.errors import InputError
from ghostnet_small.files import read_bytes, temporary_folder, write_atomic

# Lines behind the last layer, where ncnn has stopped reading.
DESCRIPTION, WEIGHTS, DIGEST = f"# {KEY} ", "# weights ", "# digest "
LARGEST_WEIGHTS = 2 << 30  # bytes
MAGIC = "7767517"


# ncnn works on packs of 4 channels (8 or 16 where a CPU has them and they fit), pools a whole
# image without unpacking them, and clamps within a convolution.
STYLE = Style(multiple=4, to_one_pixel=True, clamp=True)


def export(network: Deployable, description: Description, path: Path) -> None:
    """Write ``network``, in evaluation mode, as the layers ``path`` and the weights beside it.

    Raises ``InputError`` if ncnn cannot compute a part of the network.
    """
    fast = Deployable(rewrite(network.network, description.size, STYLE), description).eval()
    write(fast, description, path)


def write(network: nn.Module, description: Description, path: Path) -> None:
    """Write ``network`` without changes for ncnn."""
    layers, weights = _convert(network, (1, description.channels, *description.size))
    write_atomic(_weights_of(path), weights)
    write_atomic(path, signed(layers, weights, description))


def signed(layers: str, weights: bytes, description: Description) -> str:
    """Return the text ``layers`` with its description, and digests of itself and its ``weights``.

    ncnn does not check what it reads, and crashes where that is wrong: opening checks these.
    """
    text = (
        f"{layers.rstrip()}\n{DESCRIPTION}{description.as_json()}\n"
        f"{WEIGHTS}{hashlib.sha256(weights).hexdigest()}\n"
    )
    return f"{text}{DIGEST}{hashlib.sha256(text.encode()).hexdigest()}\n"


class NcnnSession:
    """A network run by ncnn; uint8 pixels become floats first.

    One image at a time: ncnn can take a batch in one call, and takes longer for it.
    """

    def __init__(self, path: Path, threads: int) -> None:
        import ncnn

        text, self.description = _checked(path)
        self._mat = ncnn.Mat
        self._net = ncnn.Net()
        options = self._net.opt
        options.num_threads = threads
        # float16 and bfloat16 are less exact than float32, and ncnn uses them where the CPU can.
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
        options.use_bf16_packed = options.use_bf16_storage = False
        with quiet_stderr():
            failed = self._net.load_param_mem(text) or self._net.load_model(str(_weights_of(path)))
        if failed:
            raise InputError(
                f"{path} has layers that ncnn {ncnn.__version__} does not know; update ncnn, or "
                "export the run again"
            )

    def __call__(self, pictures: Array) -> Array:
        floats = np.ascontiguousarray(pictures, dtype=np.float32)
        answers = np.empty((len(floats), len(self.description.classes)), dtype=np.float32)
        for number, picture in enumerate(floats):
            run = self._net.create_extractor()
            run.input("in0", self._mat(picture))
            failed, answer = run.extract("out0")
            if failed:
                raise RuntimeError(f"ncnn has failed with {failed}")
            answers[number] = answer
        return answers


def open_file(path: Path, threads: int) -> NcnnSession:
    """Return a session for ``path`` that computes each layer on ``threads`` threads.

    Raises ``InputError`` where one of the two files is damaged, or they do not belong together.
    """
    return NcnnSession(path, threads)


def _weights_of(path: Path) -> Path:
    return FORMATS["ncnn"].files(path)[1]


def _convert(network: nn.Module, shape: tuple[int, ...]) -> tuple[str, bytes]:
    """Return the layers and weights that pnnx makes of ``network`` for images of ``shape``."""
    import pnnx

    with temporary_folder() as folder:
        with warnings.catch_warnings(), torch.no_grad():
            # pnnx reads nothing but TorchScript, which PyTorch calls deprecated; and sizes that
            # are constants in the trace are meant to be.
            warnings.filterwarnings("ignore", r"`torch\.jit\.", FutureWarning)
            warnings.simplefilter("ignore", torch.jit.TracerWarning)
            traced = torch.jit.trace(network, (torch.zeros(shape),), check_trace=False)
            traced.save(f"{folder}/m.pt")
        sizes = ",".join(map(str, shape))
        done = subprocess.run(
            [pnnx.EXEC_PATH, "m.pt", f"inputshape=[{sizes}]f32", "fp16=0"],
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
        )
        files = [Path(folder, name) for name in ("m.ncnn.param", "m.ncnn.bin")]
        if done.returncode or not all(file.is_file() for file in files):
            raise InputError(
                "pnnx cannot convert this network for ncnn; choose another format. It said: "
                f"{(done.stderr + done.stdout)[-1000:]}"
            )
        return files[0].read_text(), files[1].read_bytes()


def _checked(path: Path) -> tuple[str, Description]:
    """Return the text of ``path`` and its description, once both files are known to be whole."""
    text = read_bytes(path).decode(errors="replace")
    head, found, digest = text.rpartition(DIGEST)
    if not found and not text.startswith(MAGIC):
        raise InputError(f"{path} is no ncnn network; export the run again")
    if found and hashlib.sha256(head.encode()).hexdigest() != digest.rstrip("\n"):
        raise InputError(f"{path} is damaged; copy it again, or export the run again")
    values = {
        key: line.removeprefix(key)
        for line in head.splitlines()
        for key in (DESCRIPTION, WEIGHTS)
        if line.startswith(key)
    }
    description = read_description(values.get(DESCRIPTION), str(path))
    weights = _weights_of(path)
    if hashlib.sha256(read_bytes(weights, LARGEST_WEIGHTS)).hexdigest() != values.get(WEIGHTS):
        raise InputError(
            f"{weights} is damaged or belongs to another export than {path}; copy both from one "
            "folder, or export the run again"
        )
    return text, description
