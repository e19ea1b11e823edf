/// How far ahead of a reader in order the sources of its file have been asked for, and of the files that are read after it.
package struct PrefetchCursor: Sendable {
  /// Bytes of sources that are asked for ahead.
  private static let distance = Prefetcher.maxThreads * Prefetcher.pieceCount
  /// Bytes of a file that are asked for at a time.
  private static let stride = 4 << 20
  /// Steps ahead: of files that have no data there are many.
  private static let maxSteps = 256

  /// Bytes count from the start of the reader's file on through those after it.
  private struct Step {
    let end: Int
    /// Of sources.
    let bytes: Int
  }

  private let own: (file: VirtualFile, entry: FileTree.Entry?)
  /// Where the reader began to read in order, and where it is.
  private var origin = 0
  private var reached = 0
  /// What is being asked for: the reader's file or one after it, where it starts, and how far it was asked for.
  private var file: VirtualFile
  private var entry: FileTree.Entry?
  private var start = 0
  private var asked = 0
  private var steps: [Step] = []
  private var bytesAhead = 0
  private var isCold = true

  /// - Parameter entry: the file's, to go on from.
  package init(_ file: VirtualFile, of entry: FileTree.Entry? = nil) {
    (self.file, self.entry, own) = (file, entry, (file, entry))
  }

  /// The reader is at `position` of its file, and will go on.
  ///
  /// - Returns: whether it may have to wait there.
  @discardableResult
  package mutating func advance(to position: Int, _ prefetcher: Prefetcher) -> Bool {
    var passed = 0
    while passed < steps.count, steps[passed].end <= position {
      bytesAhead -= steps[passed].bytes
      passed += 1
    }
    steps.removeFirst(passed)
    if position > start + asked || position < reached - PrefetchCursor.stride { restart(at: position) }
    reached = position
    while bytesAhead < PrefetchCursor.distance, steps.count < PrefetchCursor.maxSteps {
      // What is in memory is looked at a step ahead, and other files aren't.
      if !isCold && start + asked >= position + PrefetchCursor.stride { break }
      if asked == file.count && !(isCold && goOn()) { break }
      let window = asked..<min(asked + PrefetchCursor.stride, file.count)
      let ranges = file.sourceRanges(of: window)
      let bytes = ranges.reduce(0) { $0 + $1.bytes.count }
      if bytes > 0 {
        let answer = prefetcher.request(ranges)
        isCold = answer != .warm
        // Asked for again at the next call.
        if answer == .full { break }
      }
      asked = window.upperBound
      steps.append(Step(end: start + asked, bytes: bytes))
      bytesAhead += bytes
    }
    return isCold
  }

  /// The reader went elsewhere in its file.
  private mutating func restart(at position: Int) {
    (file, entry) = own
    (start, asked, origin) = (0, min(position, file.count), position)
    (steps, bytesAhead) = ([], 0)
  }

  /// Goes on to the file that is read next, unless the reader only looks something up at the end of its own.
  private mutating func goOn() -> Bool {
    guard origin == 0 || reached - origin > PrefetchCursor.stride, let next = entry?.next else {
      return false
    }
    start += file.count
    (file, entry, asked) = (next.file(), next, 0)
    return true
  }
}
