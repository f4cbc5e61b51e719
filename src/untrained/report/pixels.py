"""Small images as PNG data URIs, which a page can contain without further files."""

from __future__ import annotations

import base64
import struct
import zlib

import torch
from torch import Tensor

from untrained.plot.figure import MINUS, PLUS


def photograph(image: Tensor) -> str:
    """Return an image, uint8 (channels, height, width), as a data URI: in colour if it has 3 channels, else grey."""
    shown = image if image.shape[0] == 3 else image[:1].expand(3, -1, -1)
    opaque = torch.full_like(shown[:1], 255)
    return _png(torch.cat([shown, opaque]))


def weights_image(weights: Tensor, limit: float) -> str:
    """Return weights (height, width) as a data URI: blue if positive, orange if negative, transparent if zero.

    Colours are full at ±limit.
    """
    # The smallest weight that is kept must still be seen.
    strength = torch.where(weights == 0, 0.0, (weights.abs() / (limit or 1.0)).clamp(0.25, 1.0))
    plus, minus = (torch.tensor(list(bytes.fromhex(c[1:])), device="cpu").view(3, 1, 1) for c in (PLUS, MINUS))
    colour = torch.where(weights > 0, plus, minus).to(torch.uint8)
    return _png(torch.cat([colour, (255 * strength).to(torch.uint8)[None]]))


def _png(pixels: Tensor) -> str:
    """Return RGBA pixels, uint8 (4, height, width), as a data URI."""
    _, height, width = pixels.shape
    rows = pixels.permute(1, 2, 0).reshape(height, 4 * width).contiguous().numpy()
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(raw, 9)) + _chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + chunks).decode()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
