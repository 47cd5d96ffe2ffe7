"""Random mutations of an input, without knowledge of its format."""

import re
from collections.abc import Sequence
from random import Random

NUMBERS = (
    0,
    1,
    2,
    9,
    127,
    128,
    255,
    256,
    32_767,
    65_535,
    1 << 20,
    1_200_000,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 40,
)


def mutated(seeds: Sequence[bytes], words: Sequence[bytes], random: Random) -> bytes:
    """Return one of the seeds after some changes."""
    data = bytearray(random.choice(seeds))
    for _ in range(random.choice((1, 1, 1, 2, 3, 5, 8))):
        at, length = random.randint(0, len(data)), random.choice((1, 1, 2, 4, 8, 30, len(data) // 2))
        kind = random.randrange(9)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << random.randrange(8)
        elif kind == 1 and data:
            data[at % len(data)] = random.choice((0, 1, 10, 32, 45, 127, 128, 255, random.randrange(256)))
        elif kind == 2:
            del data[at : at + length]
        elif kind == 3:
            data[at:at] = data[at : at + length]
        elif kind == 4:
            data[at:at] = random.randbytes(length % 100)
        elif kind == 5 and words:
            data[at : at + random.choice((0, length))] = random.choice(words)
        elif kind == 6:
            size = random.choice((1, 2, 4, 8))
            number = random.choice(NUMBERS) % (1 << 8 * size)
            data[at : at + size] = number.to_bytes(size, random.choice(("little", "big")))
        elif kind == 7:
            other = random.choice(seeds)
            start = random.randint(0, len(other))
            data[at : at + random.choice((0, length))] = other[start : start + length]
        elif found := list(re.finditer(rb"\d+", data)):
            place = random.choice(found)
            data[slice(*place.span())] = str(random.choice((-1, 1)) * random.choice(NUMBERS)).encode()
    return bytes(data)
