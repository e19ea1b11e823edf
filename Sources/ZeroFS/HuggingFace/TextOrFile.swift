/// The value of an option that takes a JSON object or the name of a file that holds one.
public enum TextOrFile {
  /// - Throws: `SourceError.unreadable` for a file that can't be read.
  public static func contents(_ textOrFile: String) throws(SourceError) -> [UInt8] {
    textOrFile.first { !$0.isWhitespace } == "{"
      ? Array(textOrFile.utf8) : try HuggingFaceDirectory.contents(of: textOrFile)
  }
}
