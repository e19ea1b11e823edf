"""Reads and rewrites the header of a safetensors file, to make broken ones."""
import json
import struct
from pathlib import Path


def read(path: Path) -> tuple[dict, bytes]:
    content = path.read_bytes()
    length, = struct.unpack("<Q", content[:8])
    return json.loads(content[8:8 + length]), content[8 + length:]


def write(path: Path, header: dict | bytes, data: bytes) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
