"""Reduce PNG images to 256 colors, a third of the size (PNG specification, third edition)."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from functools import partial

HEAD = b"\x89PNG\r\n\x1a\n"
RGB, RGBA, INDEXED = 2, 6, 3
MAX_COLORS = 256


def reduce_colors(png: bytes) -> bytes:
    """Reduce an image to its most common colors. Other colors become the nearest of these."""
    width, height, pixels = decode(png)
    commonest = [color for color, _ in Counter(pixels).most_common(MAX_COLORS)]
    index = {color: place for place, color in enumerate(commonest)}
    for color in set(pixels) - set(commonest):
        index[color] = index[min(commonest, key=partial(measure_distance, color))]
    rows = (
        bytes(index[pixel] for pixel in pixels[row * width : (row + 1) * width])
        for row in range(height)
    )
    return encode(width, height, b"".join(commonest), b"".join(b"\0" + row for row in rows))


def measure_distance(one: bytes, other: bytes) -> int:
    return sum((left - right) ** 2 for left, right in zip(one, other, strict=True))


def encode(width: int, height: int, palette: bytes, rows: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, INDEXED, 0, 0, 0)
    return HEAD + b"".join(
        build_chunk(kind, body)
        for kind, body in (
            (b"IHDR", header),
            (b"PLTE", palette),
            (b"IDAT", zlib.compress(rows, 9)),
            (b"IEND", b""),
        )
    )


def build_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def decode(png: bytes) -> tuple[int, int, list[bytes]]:
    """Return width, height and pixels of an 8-bit image that is not interlaced, without alpha."""
    width, height, depth, kind, *_ = struct.unpack(">IIBB", png[16:26])
    assert (depth, kind in {RGB, RGBA}) == (8, True)
    size = 3 if kind == RGB else 4
    raw, at, body = zlib.decompress(b"".join(read_image_data(png))), 0, []
    above = bytes(width * size)
    for _ in range(height):
        above = undo_filter(raw[at], bytearray(raw[at + 1 : at + 1 + width * size]), above, size)
        at += 1 + width * size
        body += [bytes(above[pixel : pixel + 3]) for pixel in range(0, width * size, size)]
    return width, height, body


def read_image_data(png: bytes):
    at = len(HEAD)
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            yield png[at + 8 : at + 8 + length]
        at += 12 + length


def undo_filter(kind: int, line: bytearray, above: bytes, size: int) -> bytes:
    """Undo the compression filter of one row."""
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
