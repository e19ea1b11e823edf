import Bytes
import Glibc

extension MegatronArguments {
  /// The run's command line: `text` itself, or what the file of that name holds. Paths in it may have variables that are set
  /// elsewhere; no checkpoint depends on them.
  ///
  /// - Throws: `MegatronArgumentError`, `RunError.unreadable`.
  package init(textOrFile text: String) throws {
    try self.init(commandLine: try Self.contents(textOrFile: text), keepingUnresolvedTexts: true)
  }

  /// The text, or what the file of that name holds.
  package static func contents(textOrFile text: String) throws(RunError) -> String {
    if access(text, F_OK) == 0 {
      do {
        return String(decoding: try SourceFile.contents(of: text), as: UTF8.self)
      } catch { throw .unreadable(path: text, why: error.reason) }
    }
    if !text.hasPrefix("-") && !text.contains(where: \.isWhitespace) {
      throw .unreadable(path: text, why: errnoMessage(errno))
    }
    return text
  }
}
