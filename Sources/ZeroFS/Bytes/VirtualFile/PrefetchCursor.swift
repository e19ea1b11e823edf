/// How far ahead of a reader in order the sources of its file have been asked for, and of the files that are read after it.
package struct PrefetchCursor: Sendable {
  /// Bytes of sources that are asked for ahead.
  private static let distance = Prefetcher.maxThreads * Prefetcher.pieceCount
  /// Bytes of a file that are asked for at a time.
  private static let stride = 4 << 20
  /// Bytes at the end of a file, where who unpacks an archive looks for its directory (PyTorch's `miniz.c`:
  /// `mz_zip_reader_locate_header_sig`).
  private static let end = 4 << 10
  /// Steps ahead: of files that have no data there are many.
  private static let maxSteps = 256

  /// Bytes count from the start of the reader's file on through those after it.
  private struct Step {
    let end: Int
    /// Of sources.
    let bytes: Int
  }

  private var own: (file: VirtualFile, entry: FileTree.Entry?)
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
  /// Where each file that it went on to starts.
  private var onward: [(entry: FileTree.Entry, start: Int)] = []
  /// When its reader last read.
  private var touched = Prefetcher.now

  /// - Parameter entry: the file's, to go on from.
  package init(_ file: VirtualFile, of entry: FileTree.Entry? = nil) {
    (self.file, self.entry, own) = (file, entry, (file, entry))
  }

  /// Whether it has gone on to files behind its reader's.
  package var isAhead: Bool { !onward.isEmpty }

  /// What it is for who reads `file`, where it went on to that a moment ago.
  package func continued(in file: VirtualFile, of entry: FileTree.Entry) -> PrefetchCursor? {
    guard let start = onward.last(where: { $0.entry === entry })?.start,
      Prefetcher.now < touched + Prefetcher.maxMoment
    else { return nil }
    var cursor = self
    cursor.own = (file, entry)
    (cursor.origin, cursor.reached) = (0, 0)
    cursor.start -= start
    cursor.steps = steps.map { Step(end: $0.end - start, bytes: $0.bytes) }
    cursor.onward = onward.filter { $0.start > start }.map { ($0.entry, $0.start - start) }
    return cursor
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
    touched = Prefetcher.now
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
        if isCold && asked == 0 {
          let end = max(0, file.count - PrefetchCursor.end)..<file.count
          prefetcher.request(file.sourceRanges(of: end))
        }
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
    (steps, bytesAhead, onward) = ([], 0, [])
  }

  /// Goes on to the file that is read next, unless the reader only looks something up at the end of its own.
  private mutating func goOn() -> Bool {
    guard origin == 0 || reached - origin > PrefetchCursor.stride, let next = entry?.next else {
      return false
    }
    start += file.count
    (file, entry, asked) = (next.file(), next, 0)
    onward.append((next, start))
    return true
  }
}
