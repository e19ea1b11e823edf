"""Files that zerofs wrote, as Python's zipfile and torch see them."""
import io
import json
import struct
import zipfile
import zlib
from pathlib import Path

MANIFEST = "zerofs-manifest.json"


def tree(top: Path) -> dict[str, bytes]:
    """What a checkpoint holds, by relative path; the manifest aside."""
    return {str(path.relative_to(top)): path.read_bytes() for path in sorted(top.rglob("*"))
            if path.is_file() and path.name != MANIFEST}


def manifest(top: Path) -> dict[str, tuple[int, str]]:
    """Sizes and checksums of the manifest in `top`."""
    return {file["path"]: (file["size"], file["crc32"])
            for file in json.loads((top / MANIFEST).read_text())["files"]}


def sizes_and_checksums(files: dict[str, bytes]) -> dict[str, tuple[int, str]]:
    return {name: (len(content), f"{zlib.crc32(content):08x}") for name, content in files.items()}


def without_checksums(content: bytes) -> bytes:
    """A .pt file with zeros for the CRC of each record of tensor data, which a mount leaves out."""
    content = bytearray(content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        records, entry = archive.infolist(), archive.start_dir
    for record in records:
        assert content[entry:entry + 4] == b"PK\1\2"
        name, extra, comment = struct.unpack_from("<HHH", content, entry + 28)
        if "/data/" in record.filename:
            descriptor = payload(content, record).stop
            assert content[descriptor:descriptor + 4] == b"PK\7\x08"
            content[descriptor + 4:descriptor + 8] = content[entry + 16:entry + 20] = bytes(4)
        entry += 46 + name + extra + comment
    return bytes(content)


def payload(content: bytes, record: zipfile.ZipInfo) -> range:
    """Where the bytes of a record are."""
    name, extra = struct.unpack_from("<HH", content, record.header_offset + 26)
    start = record.header_offset + 30 + name + extra
    return range(start, start + record.file_size)


def flip(path: Path, offset: int, bit: int = 0) -> None:
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1 << bit]))
