import Bytes

/// The program in an archive that restores the model where there is no zerofs:
/// `zstd -dc OUT.zarc | tar x && python3 restore.py`.
enum RestoreProgram {
  static let name = "restore.py"
  /// Behind the names of members that are byte planes.
  static let suffix = ".planes"

  static var checksum: CRC32 {
    var checksum = CRC32()
    Array(text.utf8).withUnsafeBytes { checksum.append($0) }
    return checksum
  }

  static let text = #"""
    #!/usr/bin/env python3
    """Restores hf/, the Hugging Face directory in this archive: joins the byte planes of hf/*.planes and checks all files.

    A part of a file with elements of `width` bytes is in frames of `frameSize` bytes; each holds all first bytes, then all
    second bytes, and so on. `zerofs materialize ARCHIVE OUT` restores the checkpoint that the archive was made for.
    """
    import json
    import os
    import sys
    import zlib

    os.chdir(os.path.dirname(os.path.abspath(__file__)))
    with open("zerofs-manifest.json") as file:
        manifest = json.load(file)
    for member in manifest["members"]:
        path, crc = os.path.join("hf", member["name"]), 0
        planes = os.path.exists(path + ".planes")
        with open(path + ".planes" if planes else path, "rb") as source, \
                open(path if planes else os.devnull, "wb") as target:
            for part in member["parts"]:
                left, width = part["size"], part["width"]
                while left > 0:
                    frame = source.read(min(left, manifest["frameSize"]))
                    if not frame:
                        sys.exit(f"{path}: too short")
                    left -= len(frame)
                    elements, count = bytearray(len(frame)), len(frame) // width
                    for byte in range(width):
                        elements[byte::width] = frame[byte * count:(byte + 1) * count]
                    crc = zlib.crc32(elements, crc)
                    target.write(elements)
        if f"{crc:08x}" != member["crc32"]:
            sys.exit(f"{path}: damaged")
        if planes:
            os.remove(path + ".planes")
        print(path)
    """# + "\n"
}
