import Bytes

/// How a tree is mounted.
package struct MountOptions: Sendable {
  /// What the mount table calls the source: the model directory.
  package var source: String
  /// Bytes of the files that the tree is made from, for statfs(2).
  package var sourceBytes = 0
  /// Serve in this process instead of a daemon.
  package var isForeground = false
  /// File contents pass through the kernel's page cache: slower, but repeated reads of a mapping come from memory.
  package var isCached = false
  /// For mount(8) and FUSE: `allow_other`.
  package var options: [String] = []
  package var log: LogDestination
  /// What appears below the root when it is looked up.
  package var layouts: LayoutResolver?
  /// Files of `.zerofs`, beside `log`.
  package var reports: [FileTree.Entry] = []

  /// The log goes to stderr in the foreground, to syslog otherwise, or to `logFile`.
  package init(source: String, isForeground: Bool = false, logFile: String? = nil) {
    self.source = source
    self.isForeground = isForeground
    log = logFile.map { .file(path: $0) } ?? (isForeground ? .standardError : .syslog)
  }
}
