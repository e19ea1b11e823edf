import Bytes

/// What a Hugging Face directory consists of: the answer of `zerofs plan --as hf`.
package struct ExportReport: ServedReport, Encodable, Sendable {
  struct File: Encodable {
    let path: String
    /// Bytes.
    let size: Int
  }

  let checkpoint: String
  /// `nil` where there is no choice.
  let tag: String?
  /// `nil` for as the files are.
  let dtype: String?
  let files: [File]
  let totalBytes: Int
  package let warnings: [String]

  init(_ checkpoint: String, tag: String? = nil, dtype: DType? = nil, _ tree: FileTree, _ warnings: [String])
  {
    (self.checkpoint, self.tag, self.dtype, self.warnings) = (checkpoint, tag, dtype?.torchName, warnings)
    files = tree.entries.map { File(path: $0.path, size: $0.file().count) }
    totalBytes = files.reduce(0) { $0 + $1.size }
  }

  package var json: String { reportJSON(self) }

  package var textOfAllFiles: String { text }

  private var facts: [String] {
    ["\(tag.map { "\($0) " } ?? "")as a Hugging Face directory"] + (dtype.map { [$0] } ?? [])
      + [totalBytes.bytesText]
  }

  package var text: String {
    (["\(checkpoint): " + facts.joined(separator: ", ")]
      + files.map { "  \($0.path)  \($0.size.bytesText)" }).joined(separator: "\n")
  }
}
