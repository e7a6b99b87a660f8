"""Claim: no file can make a reader of this program crash, hang, leak or take 2 GiB.

A reader gets changed copies of files that this program writes and that users have. It must read the
file or raise an ``InputError`` of one line; all else is a finding: another exception, a crash of
the process, 10 s without an answer, 2 GiB of memory, a file left behind. Each is saved once with
its traceback below --keep, and ``--replay FILE`` shows it again.

    python tools/reliability/fuzz.py pictures --seconds 3600 --record results/fuzz.jsonl

With ``atheris`` (pip install 'ghostnet-small[fuzz]', Linux only) the changes are guided by the
coverage of the program, of PIL and of PyYAML; without, they are random.
Exit status 1 where there is a finding.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tally import Tally, resident, worked

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"

GUIDED = ("ghostnet_small", "PIL", "yaml")
MOST_BYTES = 2 << 30
MOST_SECONDS = 10.0  # of the processor, for others may use it as well
MOST_WAITING = 300.0  # of the clock: a reader that waits uses no processor
LOOK_SECONDS = 0.05


def judged(read: Callable[[bytes, Path], None], data: bytes, scratch: Path) -> tuple[str, str]:
    """Return where an input goes wrong and its traceback, two empty texts where it does not."""
    try:
        read(data, scratch)
    except Exception as error:
        from ghostnet_small.errors import InputError

        if isinstance(error, InputError) and "\n" not in str(error) and len(str(error)) < 20_000:
            return "", ""
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "ghostnet_small" in frame.filename] or frames[-1:]
        where = f"{type(error).__name__} {ours[-1].filename}:{ours[-1].lineno} {frames[-1].name}"
        return where, traceback.format_exc()
    return "", ""


def save(keep: Path, place: str, told: str, data: bytes) -> None:
    """Keep the first input of each finding, and its description."""
    name = hashlib.sha256(place.encode()).hexdigest()[:12]
    if not (keep / f"{name}.txt").exists():
        (keep / f"{name}.bin").write_bytes(data)
        (keep / f"{name}.txt").write_text(f"{place}\n\n{told}", errors="backslashreplace")


def mutated(seeds: list[bytes], words: tuple[str, ...], longest: int) -> Iterator[bytes]:
    """Random changes of seeds without end: bits, bytes, cuts, copies, splices and words."""
    chance = random.Random(os.urandom(8))
    numbers = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
    while True:
        data = bytearray(chance.choice(seeds))
        for _ in range(1 << chance.randrange(5)):
            at, span = chance.randrange(len(data) + 1), chance.choice((1, 2, 4, 8, 16, 64, 512))
            kind = chance.randrange(7)
            if kind == 0 and at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            elif kind == 1:
                data[at : at + span] = chance.randbytes(chance.randrange(span + 1))
            elif kind == 2:
                del data[at : at + chance.choice((span, len(data)))]
            elif kind == 3:
                data[at:at] = data[at : at + span] * chance.choice((1, 2, 30))
            elif kind == 4:
                other = chance.choice(seeds)
                start = chance.randrange(len(other) + 1)
                data[at : at + span] = other[start : start + span]
            elif kind == 5:
                size = chance.choice((1, 2, 4, 8))
                order = chance.choice(("little", "big"))
                value = chance.choice(numbers) & (256**size - 1)
                data[at : at + size] = value.to_bytes(size, order)  # type: ignore[arg-type]
            elif words:
                data[at : at + chance.choice((0, span))] = chance.choice(words).encode()
        yield bytes(data[:longest])


def child(reader: Any, tally: Tally, keep: Path, work: Path, guided: bool, seed: int) -> None:
    """Read inputs until the parent has had enough."""
    scratch, temporary = work / "scratch", work / "tmp"
    for folder in (scratch, temporary, work / "corpus"):
        folder.mkdir(parents=True, exist_ok=True)
    log = os.open(work / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    faulthandler.enable(os.fdopen(log, "w"))  # pytest's own would say it elsewhere
    os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
    warnings.simplefilter("ignore")
    # A request for more fails at once, instead of taking the machine's memory until it is seen.
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (used + 2 * MOST_BYTES,) * 2)

    def one(data: bytes) -> None:
        tally.begin(data)
        place, told = judged(reader.read, data, scratch)
        if place:
            save(keep, place, told, data)
        if os.listdir(temporary):
            save(keep, "left a file behind", str(os.listdir(temporary)), data)
            shutil.rmtree(temporary)
            temporary.mkdir()
        tally.end()

    files = sorted((work / "corpus").iterdir())
    if not files:
        for number, data in enumerate(reader.seeds(work / "seeds")):
            (work / "corpus" / f"seed{number}").write_bytes(data)
            one(data)
    if not guided:
        seeds = [file.read_bytes() for file in sorted((work / "corpus").iterdir())]
        for data in mutated(seeds, reader.words, reader.longest):
            one(data)
    import atheris

    # The limits of memory and time are the parent's business, who goes on after them.
    options = [f"-max_len={reader.longest}", f"-seed={seed}", "-verbosity=0"]
    options += [
        "-rss_limit_mb=0",
        "-timeout=1000000",
        "-len_control=0",
        f"-artifact_prefix={keep}/",
    ]
    if reader.words:
        spelt = ["".join(f"\\x{byte:02x}" for byte in word.encode()) for word in reader.words]
        (work / "words").write_text("".join(f'"{word}"\n' for word in spelt))
        options.append(f"-dict={work / 'words'}")
    atheris.Setup(["fuzz", *options, str(work / "corpus")], one)
    atheris.Fuzz()


def fuzz(
    name: str, *, seconds: float, inputs: int, keep: Path, guided: bool = False
) -> dict[str, Any]:
    """Feed the reader ``name`` for ``seconds`` or ``inputs``; returns the row of findings."""
    from readers import READERS

    keep.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-", dir=_fast_folder()))
    tally = Tally()
    started, peak, number = time.monotonic(), 0, 0
    try:
        while True:
            number += 1
            (work / "seeds").mkdir(exist_ok=True)
            process = os.fork()
            if process == 0:
                try:
                    child(READERS[name], tally, keep, work, guided, number)
                except BaseException:
                    (work / "log").open("a").write(traceback.format_exc())
                    os._exit(3)
                os._exit(0)
            spoilt, most, enough = _watch(process, tally, started + seconds, inputs)
            peak = max(peak, most)
            if enough:
                break
            log = (work / "log").read_text(errors="replace")[-4000:]
            if not tally.began:
                raise RuntimeError(f"the fuzzer itself failed: {log}")
            save(keep, spoilt, log, tally.last_input())
            tally.began = 0.0
            tally.write()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    hours = (time.monotonic() - started) / 3600
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "reader": name,
        "inputs": tally.inputs,
        "hours": round(hours, 3),
        "of the processor, hours": round((spent.ru_utime + spent.ru_stime) / 3600, 3),
        "inputs/s": round(tally.inputs / (3600 * hours), 1),
        "guided by coverage": "yes" if guided else "no",
        "findings": len(list(keep.glob("*.txt"))),
        "peak memory, GiB": round(peak / 2**30, 2),
        "slowest input, s": round(tally.slowest, 2),
    }


def _watch(process: int, tally: Tally, until: float, inputs: int) -> tuple[str, int, bool]:
    """Wait for the child to go wrong (how), or for the end; its most memory, and whether it is."""
    peak = 0
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        tally.read()
        if ended:
            how = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "exit"
            return f"the process ended by {how}", peak, False
        now, (held, most) = time.monotonic(), resident(process)
        peak = max(peak, most)
        enough = now >= until or (0 < inputs <= tally.inputs)
        hung = tally.began and (
            worked(process) - tally.worked > MOST_SECONDS or now - tally.began > MOST_WAITING
        )
        if enough or hung or held > MOST_BYTES:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            how = f"no answer in {MOST_SECONDS:g} s" if hung else "2 GiB of memory"
            # The last input of a run may be cut off, but not one that hangs.
            return how, peak, bool(enough and not hung and held <= MOST_BYTES)
        time.sleep(LOOK_SECONDS)


def _fast_folder() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _import_readers(guided: bool) -> None:
    if not guided:
        import readers

        return
    import atheris

    with atheris.instrument_imports(include=list(GUIDED), enable_loader_override=False):
        import readers  # noqa: F401


def main() -> int:
    """Fuzz one reader, or replay an input; print the row, and record it where asked."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("reader")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--inputs", type=int, default=0, help="end after so many (0: any number)")
    parser.add_argument("--record", type=Path, metavar="FILE.jsonl")
    parser.add_argument("--keep", type=Path, help="folder of findings (runs/fuzz/READER)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="read this one input")
    parser.add_argument("--random", action="store_true", help="do not use atheris")
    asked = parser.parse_args()
    guided = not asked.random and asked.replay is None
    if guided:
        try:
            import atheris  # noqa: F401
        except ImportError:
            guided = False
    _import_readers(guided)
    from readers import READERS

    if asked.reader not in READERS:
        parser.error(f"reader {asked.reader!r} is not known; choose one of {', '.join(READERS)}")
    if asked.replay is not None:
        with tempfile.TemporaryDirectory(dir=_fast_folder()) as scratch:
            READERS[asked.reader].read(asked.replay.read_bytes(), Path(scratch))
        print("read without an error")
        return 0
    keep = asked.keep or Path("runs") / "fuzz" / asked.reader
    row = fuzz(asked.reader, seconds=asked.seconds, inputs=asked.inputs, keep=keep, guided=guided)
    print(row)
    if row["findings"]:
        print(f"findings: {keep}/*.txt, each beside its input", file=sys.stderr)
    if asked.record is not None:
        from ghostnet_small.provenance import provenance_row
        from ghostnet_small.run.records import append_row

        append_row({**row, **provenance_row()}, asked.record)
    return 1 if row["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())
