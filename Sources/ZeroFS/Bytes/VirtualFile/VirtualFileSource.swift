/// A virtual file as bytes to read from: for who reads files, and for expressions over what two strides can't reach.
package final class VirtualFileSource: ByteSource {
  package let file: VirtualFile
  package let name: String
  private let sources: [any ByteSource]

  package init(_ file: VirtualFile, name: String) {
    self.file = file
    self.name = name
    var known: Set<ObjectIdentifier> = []
    sources = file.extents.flatMap(\.runs).map(\.source).filter {
      known.insert(ObjectIdentifier($0)).inserted
    }
  }

  package var mapping: UnsafeRawBufferPointer? { nil }

  package func verify() throws(ReadError) { for source in sources { try source.verify() } }

  package func sourceRanges(of range: Range<Int>) -> [SourceRange] { file.sourceRanges(of: range) }

  package func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(ReadError) {
    guard offset >= 0, offset <= file.count - buffer.count else {
      throw .endOfFile(path: name, offset: offset + buffer.count)
    }
    try file.copy(offset..<(offset + buffer.count), into: buffer)
  }
}
