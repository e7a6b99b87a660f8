"""Encoded pictures to pixels, block by block, in this process and in others beside it.

A helper is a plain child process that reads requests from its standard input and ends when that
closes. So a script without ``if __name__ == "__main__"`` works, nothing of this process is
copied into the helper (torch's threads do not survive a fork), and no helper outlives it.
"""

from __future__ import annotations

import json
import os
import pickle
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from PIL import Image

from ghostnet_small.data.pictures import read_picture
from ghostnet_small.errors import InputError
from ghostnet_small.launcher import PYTHON, available_cores

Source = Path | bytes | np.ndarray | InputError
HELPER_SECONDS = 3.0  # of decoding, at least, for each helper: starting one takes as long
MOST_HELPERS = 63
GREY, COLOUR = 1, 3  # the kind of a picture is its channels; 0 is one that cannot be read

_HELPER = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from ghostnet_small.data.decoded.decode import serve; serve()"
)


@dataclass(frozen=True)
class Format:
    """What every picture is decoded to: uint8 ``(planes, height, width)``.

    ``channels`` and ``size`` are the settings; pictures that are still of another height and
    width do not belong to the set.
    """

    channels: int | None
    size: int | tuple[int, int] | None
    planes: int
    height: int
    width: int


@dataclass
class Block:
    """Decoded pictures: ``pixels`` uint8 ``(n, C, H, W)`` and each one's ``kinds``, uint8 ``(n,)``.

    ``unreadable`` are messages by row. ``misfit`` is the first row of another size, (height,
    width). ``coloured`` says that a picture has more channels than ``planes``; the block is not
    whole then.
    """

    pixels: np.ndarray
    kinds: np.ndarray
    unreadable: dict[int, str] = field(default_factory=dict)
    misfit: tuple[int, tuple[int, int]] | None = None
    coloured: bool = False


def decode_block(sources: Sequence[Source], names: Sequence[str], form: Format) -> Block:
    """Decode ``sources``, called ``names`` in messages; an ``InputError`` is passed on as it is."""
    shape = (len(sources), form.planes, form.height, form.width)
    block = Block(np.zeros(shape, np.uint8), np.zeros(len(sources), np.uint8))
    for row, source in enumerate(sources):
        try:
            if isinstance(source, InputError):
                raise source
            opened = Image.fromarray(source) if isinstance(source, np.ndarray) else source
            picture = read_picture(
                opened, channels=form.channels, size=form.size, name=names[row]
            ).numpy()
        except InputError as error:
            block.unreadable[row] = str(error)
            continue
        if picture.shape[1:] != (form.height, form.width):
            block.misfit = (row, picture.shape[1:])
            return block
        if len(picture) > form.planes:
            block.coloured = True
            return block
        block.kinds[row] = len(picture)
        block.pixels[row] = picture
    return block


Load = Callable[[int], tuple[Sequence[Source], Sequence[str]]]
Keep = Callable[[int, Block], bool]


def decode_blocks(
    numbers: Sequence[int],
    load: Load,
    keep: Keep,
    form: Format,
    *,
    helpers: int | None = None,
    say: Callable[[str], None],
) -> None:
    """Decode the blocks ``numbers``, in this order at about the same time.

    ``load`` gives the sources and names of a block; ``keep`` takes it decoded, and says whether
    to go on: after a no, blocks that were begun are finished and no other is begun. Both are
    called from several threads, one at a time. ``helpers`` is the number of processes beside
    this one, by default as many as there are other cores and work for.

    A helper that dies costs nothing but its time: its block is decoded again.
    """
    work = _Work(deque(numbers), load, keep)
    started = time.perf_counter()
    if (first := work.take()) is None:
        return
    work.done(first, decode_block(*first.request, form))
    if helpers is None:
        expected = (time.perf_counter() - started) * len(numbers)
        helpers = min(available_cores() - 1, int(expected / HELPER_SECONDS), MOST_HELPERS)
    threads = [
        threading.Thread(target=_feed, args=(work, form), daemon=True)
        for _ in range(min(helpers, len(work.waiting)))
    ]
    try:
        for thread in threads:
            thread.start()
        while True:
            while (task := work.take()) is not None:
                work.done(task, decode_block(*task.request, form))
            for thread in threads:
                thread.join()
            if not work.waiting or work.stopped:
                break
    except BaseException:
        work.stopped = True
        raise
    finally:
        for thread in threads:
            thread.join()
    if work.error is not None:
        raise work.error
    if work.lost:
        say(f"{work.lost} of the decoding processes ended early; this one did their work")


@dataclass(frozen=True)
class _Task:
    number: int
    request: tuple[Sequence[Source], Sequence[str]]


class _Work:
    """The blocks that are not yet decoded, shared by the threads."""

    def __init__(self, waiting: deque[int], load: Load, keep: Keep) -> None:
        self.waiting, self.load, self.keep = waiting, load, keep
        self.lock = threading.Lock()
        self.stopped = False
        self.lost = 0
        self.error: BaseException | None = None

    def take(self) -> _Task | None:
        with self.lock:
            if self.stopped or not self.waiting:
                return None
            number = self.waiting.popleft()
            return _Task(number, self.load(number))

    def done(self, task: _Task, block: Block) -> None:
        with self.lock:
            if not self.keep(task.number, block):
                self.stopped = True

    def give_back(self, task: _Task) -> None:
        with self.lock:
            self.waiting.appendleft(task.number)
            self.lost += 1

    def fail(self, error: BaseException) -> None:
        with self.lock:
            self.error = self.error or error
            self.stopped = True


def _feed(work: _Work, form: Format) -> None:
    """Keep one helper busy."""
    try:
        try:
            started = _Helper()
        except OSError:  # no more processes, or no interpreter to start
            return
        with started as helper:
            while (task := work.take()) is not None:
                try:
                    block = helper.decode(*task.request, form)
                except (OSError, EOFError, pickle.PickleError):
                    work.give_back(task)
                    return
                work.done(task, block)
    except BaseException as error:  # raised again in the thread that waits
        work.fail(error)


class _Helper:
    """A process that decodes what it is sent."""

    def __init__(self) -> None:
        # Without the empty entry of an interactive session, which means the current folder.
        path = [entry for entry in sys.path if entry]
        # In a session of its own: a Ctrl-C is for this process, which then closes the pipe.
        self.process = subprocess.Popen(
            [*PYTHON, "-c", _HELPER, json.dumps(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )

    def decode(self, sources: Sequence[Source], names: Sequence[str], form: Format) -> Block:
        assert self.process.stdin is not None and self.process.stdout is not None
        _send(self.process.stdin, (sources, names, form))
        answer = _receive(self.process.stdout)
        if not isinstance(answer, Block):
            raise EOFError
        return answer

    def __enter__(self) -> _Helper:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()
        self.process.wait()


def serve() -> None:
    """Decode the blocks that come by standard input until it closes."""
    requests = sys.stdin.buffer
    # What a library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with suppress(EOFError, BrokenPipeError):
        while True:
            _send(answers, decode_block(*_receive(requests)))


def _send(pipe: IO[bytes], value: Any) -> None:
    content = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    pipe.write(struct.pack("<Q", len(content)))
    pipe.write(content)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> Any:
    """What the process at the other end, which is this program too, has sent."""
    head = _read(pipe, 8)
    return pickle.loads(_read(pipe, struct.unpack("<Q", head)[0]))


def _read(pipe: IO[bytes], size: int) -> bytes:
    content = pipe.read(size)
    if len(content) < size:
        raise EOFError
    return content
