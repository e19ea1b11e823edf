import Bytes
import Glibc

/// The files that a script may be followed into: regular ones below the working directory and the script's own folder. What
/// others hold never shows.
struct ShellFiles {
  let directory: String
  private let roots: [String]

  static let maxFile = 1 << 20

  /// - Parameter script: its path, if the script is a file.
  init(script: String? = nil) {
    directory = resolvedPath(".") ?? "/"
    let own = script.flatMap { resolvedPath($0) }.map { directoryPath(of: $0) }
    roots = [directory, own].compactMap { $0 }.filter { $0 != "/" }
  }

  private func allowed(_ path: String) -> String? {
    guard let real = resolvedPath(path), roots.contains(where: { real == $0 || real.hasPrefix($0 + "/") })
    else {
      return nil
    }
    return real
  }

  func contents(_ path: String) -> String? {
    guard let real = allowed(path), `is`("-f", real) == true,
      let bytes = try? SourceFile.contents(of: real, limit: Self.maxFile)
    else { return nil }
    return String(decoding: bytes.filter { $0 != 0 }, as: UTF8.self)
  }

  /// Whether a test like `-f` holds of what is there; `nil` of what isn't, which the run may have.
  func `is`(_ flag: String, _ path: String) -> Bool? {
    var status = stat()
    guard let real = allowed(path), stat(real, &status) == 0 else { return nil }
    switch flag {
    case "-e", "-r": return true
    case "-f": return status.isRegularFile
    case "-d": return status.isDirectory
    case "-s": return status.st_size > 0
    default: return nil
    }
  }
}

extension Shell {
  /// The path that a name has in the script's working directory; `nil` if that isn't known.
  func path(_ name: String) -> String? {
    if name.hasPrefix("/") { return name }
    guard let directory, !ShellUnknown.isIn(name) else { return nil }
    return directory + "/" + (name.hasPrefix("./") ? String(name.dropFirst(2)) : name)
  }

  func exists(_ name: String) -> Bool {
    guard let path = path(name), !record.touched.contains(path) else { return false }
    return written[path] == nil && files.is("-e", path) == true
  }

  /// What a file holds; `nil` where that isn't known.
  func contents(_ name: String, _ line: Int) throws(ShellError) -> String? {
    guard !ShellUnknown.isIn(name), let path = path(name) else { return nil }
    if path == "/dev/null" { return "" }
    if path == "/dev/stdin" { return input }
    if let text = written[path] { return ShellUnknown.isIn(text) ? nil : text }
    guard !record.touched.contains(path), let text = files.contents(path) else { return nil }
    try record.spend(text.utf8.count, line)
    return text
  }

  // MARK: Redirections

  /// Runs a command with its redirections. What it writes is kept for those that read the file.
  mutating func redirected(_ statement: ShellStatement, _ body: (inout Shell) throws(ShellError) -> Void)
    throws(ShellError)
  {
    let outer = (input, output)
    var target: (path: String?, appends: Bool)?
    var readsOther = false
    for redirection in statement.redirections {
      let name = try text(redirection.target)
      switch redirection.kind {
      case .input where redirection.descriptor == 0:
        input = try contents(name, statement.line) ?? ShellUnknown.text(statement.line, name)
        readsOther = true
      case .text where redirection.descriptor == 0:
        input = name
        readsOther = true
      case .output where redirection.descriptor == 1, .append where redirection.descriptor == 1:
        target = (path(name), redirection.kind == .append)
      case .duplicate where redirection.descriptor == 1 && name != "1": target = (nil, false)
      case .input, .text:
        throw .syntax(statement.line, "a redirection of descriptor \(redirection.descriptor) isn't followed")
      case .output, .append, .duplicate: break
      }
    }
    if target != nil { output = "" }
    try body(&self)
    if let target {
      if let path = target.path, path != "/dev/null" {
        let before =
          target.appends
          ? written[path] ?? files.contents(path) ?? ShellUnknown.text(statement.line, path) : ""
        written[path] = before + output
      }
      output = outer.1
    }
    if readsOther { input = outer.0 }
  }
}
