"""Small images as PNG data URIs, which a page can hold without a file beside it."""

from __future__ import annotations

import base64
import struct
import zlib

import torch
from torch import Tensor

_PLUS, _MINUS = (0, 114, 178), (213, 94, 0)  # blue and vermilion of Okabe & Ito, told apart by the colour-blind


def photograph(image: Tensor) -> str:
    """An image, uint8 (channels, height, width) of 1 or 3 channels; of others the first is shown."""
    shown = image if image.shape[0] == 3 else image[:1].expand(3, -1, -1)
    opaque = torch.full_like(shown[:1], 255)
    return _png(torch.cat([shown, opaque]))


def weights_image(weights: Tensor, limit: float) -> str:
    """Weights (height, width): positive ones blue, negative ones orange, zeros transparent; full at ±limit."""
    # The smallest that is kept must still be seen.
    strength = torch.where(weights == 0, 0.0, (weights.abs() / (limit or 1.0)).clamp(0.25, 1.0))
    plus, minus = (torch.tensor(colour, device="cpu").view(3, 1, 1) for colour in (_PLUS, _MINUS))
    colour = torch.where(weights > 0, plus, minus).to(torch.uint8)
    return _png(torch.cat([colour, (255 * strength).to(torch.uint8)[None]]))


def _png(pixels: Tensor) -> str:
    """RGBA, uint8 (4, height, width)."""
    _, height, width = pixels.shape
    rows = pixels.permute(1, 2, 0).reshape(height, 4 * width).contiguous().numpy()
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(raw, 9)) + _chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + chunks).decode()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
