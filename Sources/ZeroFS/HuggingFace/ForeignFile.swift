import Bytes

/// What a file is that has another's place, by its first bytes.
package enum ForeignFile: Sendable, Equatable {
  /// What git leaves where git-lfs didn't run.
  case lfsPointer
  case gguf
  /// A page that says why there is no download.
  case webPage
  /// `torch.save`, or any other zip archive.
  case zip

  private static let beginnings: [(ForeignFile, [UInt8])] = [
    (.lfsPointer, Array("version https://git-lfs.".utf8)), (.gguf, Array("GGUF".utf8)),
    (.webPage, Array("<!DOCTYPE".utf8)), (.webPage, Array("<!doctype".utf8)), (.webPage, Array("<html".utf8)),
    (.zip, [0x50, 0x4B, 3, 4]),
  ]

  /// `nil` for a file that isn't any of them, or can't be read.
  package init?(_ file: any StoredFile) {
    guard let start = try? file.bytes(0..<min(file.size, 32)),
      let found = ForeignFile.beginnings.first(where: { start.starts(with: $0.1) })
    else { return nil }
    self = found.0
  }

  /// What it is, and what to do.
  var advice: String {
    switch self {
    case .lfsPointer:
      "a Git LFS pointer, not the file itself. Run `git lfs pull` in its repository, or download the model with `hf download`."
    case .gguf:
      "a GGUF file of llama.cpp. zerofs reads safetensors: take the model that it was converted from."
    case .webPage: "a web page, not the file itself. Download it again, signed in if the model is gated."
    case .zip:
      "a zip archive, as torch.save writes it. zerofs reads safetensors: load the model with transformers and "
        + "save_pretrained it."
    }
  }
}
