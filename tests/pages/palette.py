"""PNG with 256 colours at most: what a page of text needs, in a third of the bytes (PNG specification, third edition)."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from functools import partial

HEAD = b"\x89PNG\r\n\x1a\n"
RGB, RGBA, INDEXED = 2, 6, 3
MOST = 256


def reduced(png: bytes) -> bytes:
    """The picture in a palette of its commonest colours; the others become the nearest of these."""
    width, height, pixels = decoded(png)
    commonest = [colour for colour, _ in Counter(pixels).most_common(MOST)]
    index = {colour: place for place, colour in enumerate(commonest)}
    for colour in set(pixels) - set(commonest):
        index[colour] = index[min(commonest, key=partial(distance, colour))]
    rows = (
        bytes(index[pixel] for pixel in pixels[row * width : (row + 1) * width])
        for row in range(height)
    )
    return encoded(width, height, b"".join(commonest), b"".join(b"\0" + row for row in rows))


def distance(one: bytes, other: bytes) -> int:
    return sum((left - right) ** 2 for left, right in zip(one, other, strict=True))


def encoded(width: int, height: int, palette: bytes, rows: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, INDEXED, 0, 0, 0)
    return HEAD + b"".join(
        chunk(kind, body)
        for kind, body in (
            (b"IHDR", header),
            (b"PLTE", palette),
            (b"IDAT", zlib.compress(rows, 9)),
            (b"IEND", b""),
        )
    )


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def decoded(png: bytes) -> tuple[int, int, list[bytes]]:
    """Width, height and the pixels row by row, without what is transparent. For what a browser draws: 8 bits, not interlaced."""
    width, height, depth, kind, *_ = struct.unpack(">IIBB", png[16:26])
    assert (depth, kind in {RGB, RGBA}) == (8, True)
    size = 3 if kind == RGB else 4
    raw, at, body = zlib.decompress(b"".join(parts(png))), 0, []
    above = bytes(width * size)
    for _ in range(height):
        above = unfiltered(raw[at], bytearray(raw[at + 1 : at + 1 + width * size]), above, size)
        at += 1 + width * size
        body += [bytes(above[pixel : pixel + 3]) for pixel in range(0, width * size, size)]
    return width, height, body


def parts(png: bytes):
    at = len(HEAD)
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            yield png[at + 8 : at + 8 + length]
        at += 12 + length


def unfiltered(kind: int, line: bytearray, above: bytes, size: int) -> bytes:
    """One row with the filter taken off that was put on to compress it."""
    if kind == 0:
        return bytes(line)
    for index in range(len(line)):
        left = line[index - size] if index >= size else 0
        corner = above[index - size] if index >= size else 0
        guess = {
            1: left,
            2: above[index],
            3: (left + above[index]) // 2,
            4: paeth(left, above[index], corner),
        }[kind]
        line[index] = (line[index] + guess) & 0xFF
    return bytes(line)


def paeth(left: int, up: int, corner: int) -> int:
    guess = left + up - corner
    return min((left, up, corner), key=lambda one: abs(guess - one))
