import Glibc

/// The directory of a path with the slash behind it (empty where there is none), and the name in it.
package func splitPath(_ path: String) -> (directory: Substring, name: Substring) {
  let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")).map { path.utf8.index(after: $0) } ?? path.startIndex
  return (path[..<slash], path[slash...])
}

/// The directory of a path, as one that can be opened.
package func directoryPath(of path: String) -> String {
  let directory = splitPath(path).directory
  if directory.isEmpty { return "." }
  return directory == "/" ? "/" : String(directory.dropLast())
}

/// Whether a relative path stays below the directory that it is of: what a file records is no way out of it.
///
/// Compared byte by byte: a slash with a combining mark behind it is a slash to the kernel, and another character to Swift.
package func staysBelow(_ path: String) -> Bool {
  let components = path.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
  return !path.utf8.contains(0)
    && components.allSatisfy { !$0.isEmpty && !$0.elementsEqual(".".utf8) && !$0.elementsEqual("..".utf8) }
}

/// `path` without symbolic links, absolute; `nil` where there is no such file.
package func resolvedPath(_ path: String) -> String? {
  guard let resolved = realpath(path, nil) else { return nil }
  defer { free(resolved) }
  return String(cString: resolved)
}
