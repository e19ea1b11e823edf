import Bytes
import Glibc

/// What a Hugging Face directory of a checkpoint consists of: the answer of `zerofs plan --as hf`.
package struct ExportReport: Encodable, Sendable {
  struct File: Encodable {
    let path: String
    /// Bytes.
    let size: Int
  }

  let checkpoint: String
  let tag: String
  let dtype: String
  let files: [File]
  let totalBytes: Int
  package let warnings: [String]

  package init(_ export: HuggingFaceExport, modified: timespec) {
    checkpoint = export.checkpoint.path
    tag = export.checkpoint.tag
    dtype = export.dtype.torchName
    files = export.tree(modified: modified).entries.map { File(path: $0.path, size: $0.file().count) }
    totalBytes = files.reduce(0) { $0 + $1.size }
    warnings = export.warnings
  }

  package var json: String { reportJSON(self) }

  package var textOfAllFiles: String { text }

  package var text: String {
    (["\(checkpoint): \(tag) as a Hugging Face directory, \(dtype), \(totalBytes.bytesText)"]
      + files.map { "  \($0.path)  \($0.size.bytesText)" }).joined(separator: "\n")
  }
}
