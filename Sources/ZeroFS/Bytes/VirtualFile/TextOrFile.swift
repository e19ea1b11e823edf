/// The value of an option that takes a JSON object or the name of a file that holds one.
package enum TextOrFile {
  /// - Throws: `ReadError` for a file that can't be read.
  package static func contents(_ textOrFile: String) throws(ReadError) -> [UInt8] {
    textOrFile.first { !$0.isWhitespace } == "{"
      ? Array(textOrFile.utf8) : try SourceFile.contents(of: textOrFile)
  }
}
