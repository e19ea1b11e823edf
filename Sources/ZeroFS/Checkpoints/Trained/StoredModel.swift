import Bytes
import Glibc
import HuggingFace

/// The Hugging Face directory that an archive was made of, its files as they were.
package struct StoredModel: ServedTree {
  let directory: HuggingFaceDirectory
  private let files: [any StoredFile]

  package let warnings: [String] = []
  package let layoutName: LayoutName = .huggingFace()
  package let ranks = 1

  /// - Throws: `SourceError.unreadable`.
  package init(_ directory: HuggingFaceDirectory) throws(SourceError) {
    self.directory = directory
    files = directory.descriptions + directory.files + (try directory.companions())
  }

  package func tree(modified: timespec) -> FileTree {
    FileTree(files.map { FileTree.Entry(directory.name(of: $0), whole: $0) }, modified: modified)
  }

  package func report(modified: timespec) -> any ServedReport {
    ExportReport(directory.path, tree(modified: modified), warnings)
  }
}
