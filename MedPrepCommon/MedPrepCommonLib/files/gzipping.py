"""A gzip writer that uses every core and writes the same bytes for the same content.

Blocks are deflated in threads and joined in one ordinary gzip member (as pigz does), which every reader
takes. The header holds no name and no time. How many threads worked does not change a byte.
"""

from __future__ import annotations

import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from ..core.parallel import default_workers

_BLOCK = 1 << 20
# Magic, deflate, no flags, no time, no hint on compression, unknown system.
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


def compress_file(
    source: Path,
    target: Path,
    level: int = 6,
    check: Callable[[], None] | None = None,
    threads: int | None = None,
) -> None:
    """Write the gzip file `target` from the content of `source`.

    Parameters
    ----------
    level : 1 (fast) to 9 (small).
    check : called after every block; may raise to stop.
    threads : 1 or more; ``MEDPREP_THREADS`` or the cores when None.
    """
    checksum, size = 0, 0
    with open(source, "rb") as reading, open(target, "wb") as writing:
        writing.write(_HEADER)

        def blocks() -> Iterator[bytes]:
            nonlocal checksum, size
            while block := reading.read(_BLOCK):
                checksum, size = zlib.crc32(block, checksum), size + len(block)
                yield block

        for part in _deflated(blocks(), level, threads or default_workers()):
            writing.write(part)
            if check is not None:
                check()
        # An empty last block ends the stream.
        writing.write(b"\x03\x00")
        writing.write(struct.pack("<II", checksum, size & 0xFFFFFFFF))


def _deflated(blocks: Iterable[bytes], level: int, threads: int) -> Iterator[bytes]:
    """Raw deflate data of each block in order, with few blocks in memory at a time."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[bytes]] = deque()
        for block in blocks:
            waiting.append(pool.submit(_deflate, block, level))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _deflate(block: bytes, level: int) -> bytes:
    packer = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    # A full flush ends the block at a byte and lets the next start without what came before.
    return packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
