"""Ways to break bytes, texts and JSON; all of them by one random generator, so that a seed repeats them."""

from __future__ import annotations

import random
import struct
from typing import Any

NUMBERS = (0, 1, -1, 2, 3, 4, 7, 255, 256, 32767, 65535, 65536, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1)
REALS = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    1e-8,
    1e-3,
    1e3,
    1e6,
    1e30,
    -1e30,
    1e308,
    float("nan"),
    float("inf"),
    -float("inf"),
)
WORDS = (
    "", "0", "-1", "1e999", "nan", "inf", "99999999999999999999", "%s", "%n", "%d 1 3 0", "%03d 5 1 1",
    "LIST", "LOCAL",
    "/etc/passwd", "../x", "/dev/zero", ".", "x" * 300, "\ud800", "a\0b", "None", "True", "gzip",
    "raw", "double",
)  # fmt: skip


def broken(data: bytes, draw: random.Random, header: int) -> bytes:
    """`data` with one to three changes, most of them in its first `header` bytes."""
    changed = bytearray(data)
    for _n in range(draw.choice((1, 1, 1, 2, 3))):
        end = min(header, len(changed)) if draw.random() < 0.8 else len(changed)
        at = draw.randrange(max(end, 1))
        kind = draw.randrange(7)
        if kind == 0:
            changed[at : at + 1] = bytes([draw.randrange(256)])
        elif kind == 1 and changed:
            changed[at % len(changed)] ^= 1 << draw.randrange(8)
        elif kind == 2:
            form = draw.choice(("b", "h", "i", "q", "f", "d"))
            packed = _packed(draw.choice("<>") + form, draw.choice(REALS if form in "fd" else NUMBERS))
            at -= at % max(1, len(packed) // 2)
            changed[at : at + len(packed)] = packed
        elif kind == 3:
            del changed[int(len(changed) * draw.choice((0.0, 0.1, 0.5, 0.9, 0.99, draw.random()))) :]
        elif kind == 4:
            changed += bytes(draw.choice((1, 100, 5000))) if draw.random() < 0.5 else draw.randbytes(40)
        elif kind == 5:
            del changed[at : at + draw.choice((1, 2, 4, 16))]
        else:
            changed[at:at] = draw.randbytes(draw.choice((1, 2, 4, 16)))
    return bytes(changed)


def _packed(form: str, value: float) -> bytes:
    try:
        return struct.pack(form, value)
    except (struct.error, OverflowError):
        return struct.pack(form, 0)


def reworded(text: str, draw: random.Random) -> str:
    """A text header with words, lines or values changed."""
    lines = text.split("\n")
    for _n in range(draw.choice((1, 1, 2))):
        at = draw.randrange(len(lines))
        kind = draw.randrange(5)
        words = lines[at].split(" ")
        if kind == 0:
            words[draw.randrange(len(words))] = draw.choice(WORDS)
            lines[at] = " ".join(words)
        elif kind == 1:
            words[draw.randrange(len(words))] = str(draw.choice((*NUMBERS, *REALS)))
            lines[at] = " ".join(words)
        elif kind == 2:
            del lines[at]
        elif kind == 3:
            lines.insert(at, lines[draw.randrange(len(lines))] if lines else "")
        else:
            mark = ": " if ": " in lines[at] else " = "
            lines[at] = f"{lines[at].partition(mark)[0]}{mark}{draw.choice(WORDS)}"
        lines = lines or [""]
    return "\n".join(lines)


def reshaped(value: Any, draw: random.Random) -> Any:
    """JSON with one of its values replaced, removed, nested or repeated."""
    if isinstance(value, dict) and value and draw.random() < 0.9:
        key = draw.choice(list(value))
        return _inner(value, key, draw, lambda: {k: v for k, v in value.items() if k != key})
    if isinstance(value, list) and value and draw.random() < 0.9:
        at = draw.randrange(len(value))
        return _inner(value, at, draw, lambda: value[:at] + value[at + 1 :])
    return draw.choice(
        (
            None,
            True,
            [],
            {},
            [[]],
            {"x": 1},
            10**400,
            draw.choice(NUMBERS),
            draw.choice(REALS),
            draw.choice(WORDS),
        )
    )


def _inner(value: Any, key: Any, draw: random.Random, without: Any) -> Any:
    if draw.random() < 0.15:
        return without()
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[key] = reshaped(value[key], draw)
    return copy
