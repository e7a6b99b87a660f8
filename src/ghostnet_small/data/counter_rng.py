"""Random words without a state: Philox4x32-10 in integer arithmetic.

Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 4.3;
the constants and the known answers in the tests are those of its library, Random123.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ghostnet_small.errors import InputError

ROUNDS = 10
WORD = 0xFFFFFFFF
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
STEP_STREAM = 1 << 17  # far from the streams of views and orders
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)


def check_seed(seed: int, name: str = "seed") -> None:
    """Raise ``InputError`` where ``seed`` does not fit the generator's 64-bit key."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**64:
        raise InputError(
            f"{name} {seed!r} is not allowed; give a whole number from 0 to {2**64 - 1}"
        )


def philox_words(counter: tuple[Tensor, ...], key: tuple[int, int]) -> Tensor:
    """Four 32-bit words for each counter, int64 ``(N, 4)`` in ``0 .. 2**32 - 1``.

    ``counter`` holds four int64 tensors ``(N,)`` of 32-bit words; ``key`` two 32-bit words.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        # Products reach 2**64 and wrap around the sign of int64. The low half stays right, and
        # so does the high one once the mask has cut off the copies of the sign bit.
        left, right = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c2 = ((right >> 32) & WORD) ^ c1 ^ k0, ((left >> 32) & WORD) ^ c3 ^ k1
        c1, c3 = right & WORD, left & WORD
        k0, k1 = (k0 + KEY_STEPS[0]) & WORD, (k1 + KEY_STEPS[1]) & WORD
    return torch.stack((c0, c1, c2, c3), dim=1)


def philox(index: Tensor, view: int | Tensor, stream: int, seed: int) -> Tensor:
    """Four random 32-bit words for each image, int64 ``(N, 4)`` in ``0 .. 2**32 - 1``.

    A pure function of its arguments, bit-equal on every device: ``index`` int64 ``(N,)``, the
    image's row in its source; ``view`` and ``stream`` (what the words are for) fit 32 bits,
    ``seed`` 64 bits. ``view`` is one for all or int64 ``(N,)``; of the latter the low 32 bits
    count, because a check of the values would make a GPU wait.

    Raises ``InputError`` for a seed or a single view outside these ranges.
    """
    check_seed(seed)
    if isinstance(view, int) and not 0 <= view <= WORD:
        raise InputError(f"view {view} is not allowed; give a whole number from 0 to {WORD}")
    counter = (
        index & WORD,
        (index >> 32) & WORD,
        torch.full_like(index, view) if isinstance(view, int) else view & WORD,
        torch.full_like(index, stream),
    )
    return philox_words(counter, (seed & WORD, seed >> 32))


def step_seed(seed: int, step: int, rank: int) -> int:
    """Return a 64-bit seed for PyTorch's random numbers in one training step of one process."""
    first, second, *_ = philox(torch.tensor([rank]), step, STEP_STREAM, seed)[0].tolist()
    return int(first) << 32 | int(second)


def below(words: Tensor, n: int) -> Tensor:
    """Whole numbers in ``0 .. n - 1`` from 32-bit words, for n up to ``2**31``.

    No number is likelier than another by more than ``n / 2**32``.
    """
    return (words * n) >> 32
