import Glibc

/// Has source files read before they are needed: in long pieces, many at a time, into the page cache, from where whoever needs them
/// then takes them. Storage that is far away or cold is as fast as the number of requests that it has at a time.
///
/// What is in the page cache already is left alone. A piece that was read without waiting says so: after a few of them their file
/// counts as *warm* and isn't read ahead, until somebody had to wait for it.
package final class Prefetcher: Sendable {
  /// Bytes that are read at a time; the kernel makes shorter requests of them, one or two at a time.
  package static let pieceCount = 1 << 20
  /// Pieces that are read at a time.
  package static let maxThreads = 64

  enum Warmth {
    /// Nobody has read it yet.
    case unknown
    case cold
    case warm
    /// The page cache doesn't keep it (direct I/O): reading it ahead would read it twice.
    case unkept
  }

  fileprivate struct Source {
    let file: SourceFile
    var warmth = Warmth.unknown
    /// Second in which each piece was read, 0 for those that weren't, `pending` for those that are about to be.
    var pieces: [UInt32]
    var pending = 0
    /// How many may be pending while nothing is known of the file.
    var maxPending = Prefetcher.maxQuick
    /// Pieces that were read without waiting, since one that wasn't.
    var quick = 0
    /// Pieces that weren't in the page cache even after they were read, while nothing is known of the file.
    var lost = 0

    func bytes(of piece: Int) -> Range<Int> {
      let start = piece * Prefetcher.pieceCount
      return start..<min(start + Prefetcher.pieceCount, file.size)
    }
  }

  fileprivate struct State {
    var sources: [ObjectIdentifier: Source] = [:]
    /// First in, first out; `head` is the first.
    var queue: [(source: ObjectIdentifier, piece: Int)] = []
    var head = 0
    var threads = 0
    var idle = 0
    var isClosed = false
  }

  fileprivate static let pending = UInt32.max
  /// So many quick pieces make a file warm, and no more than so many are read of a file of which nothing is known.
  fileprivate static let maxQuick = 4
  /// So many are read at first of a file whose pages the kernel says aren't there.
  fileprivate static let maxMissing = 32
  /// Pieces that wait for a thread.
  fileprivate static let maxQueue = 1024
  /// Seconds for which a piece that was read is taken to be in the page cache still, unless the kernel says otherwise.
  fileprivate static let maxAge: UInt32 = 60
  /// Seconds likewise for which who reads it is taken to be where the storage is the bottleneck.
  static let maxMoment: UInt32 = 5

  /// For programs that read files from the first byte to the last. None of its threads survives a fork.
  package static let shared = Prefetcher()

  private let pool = Pool()

  package init() {}

  deinit { pool.close() }

  /// What the threads share; they outlive the prefetcher by the piece that they read.
  // Unchecked: the semaphore is a semaphore.
  fileprivate final class Pool: @unchecked Sendable {
    let state = LockedValue(State())
    /// Of the threads, to take a piece and announce it: storage gets the pieces in the order in which they were asked for.
    let turn = LockedValue(())
    let work = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

    init() { sem_init(work, 0, 0) }

    deinit {
      sem_destroy(work)
      work.deallocate()
    }

    func close() {
      let threads = state.withLock { state in
        state.isClosed = true
        return state.threads
      }
      for _ in 0..<threads { sem_post(work) }
    }
  }

  package enum Answer {
    /// All of it is in the page cache, as far as is known, or reading ahead doesn't help.
    case warm
    case asked
    /// Not all of it, for now.
    case full
  }

  /// Asks for the pieces that hold `ranges` and weren't read lately.
  @discardableResult
  package func request(_ ranges: [SourceRange]) -> Answer {
    let now = Prefetcher.now
    let (answer, queued, new) = pool.state.withLock { state -> (Answer, Int, Int) in
      var answer = Answer.warm
      let before = state.queue.count
      for range in ranges where !range.bytes.isEmpty {
        switch state.request(range, now) {
        case .warm: continue
        case .asked: answer = .asked
        case .full: answer = .full
        }
        if case .full = answer { break }
      }
      let queued = state.queue.count - before
      let new = min(max(0, queued - state.idle), Prefetcher.maxThreads - state.threads)
      state.threads += new
      return (answer, queued, new)
    }
    for _ in 0..<new where !start() { pool.state.withLock { $0.threads -= 1 } }
    for _ in 0..<queued { sem_post(pool.work) }
    return answer
  }

  /// Somebody had to wait for bytes of these files.
  package func noteWait(for ranges: [SourceRange]) {
    pool.state.withLock { state in
      for range in ranges {
        state.with(range.file) { source in
          if source.warmth == .warm { (source.warmth, source.quick) = (.unknown, 0) }
        }
      }
    }
  }

  /// Whether reading `range` may have to wait.
  package func isCold(_ range: SourceRange) -> Bool {
    pool.state.withLock { state in state.with(range.file) { $0.warmth != .warm } }
  }

  private func start() -> Bool {
    let pool = pool
    let thread = PosixThread { Prefetcher.run(pool) }
    thread?.detach()
    return thread != nil
  }

  private static func run(_ pool: Pool) {
    while true {
      pool.state.withLock { $0.idle += 1 }
      while sem_wait(pool.work) != 0 {}
      var isMissing = false
      let work = pool.turn.withLock { _ in
        let work = pool.state.withLock { state in
          state.idle -= 1
          return state.isClosed ? nil : state.take()
        }
        if let range = work?.range {
          // A fast disk may have read it before this thread comes to wait for it.
          isMissing = range.file.isMissing(range.bytes)
          range.file.announce(range.bytes)
        }
        return work
      }
      guard let work else {
        if pool.state.withLock({ $0.isClosed }) { return }
        continue
      }
      let range = work.range
      // Waits for the last request, before which the others have come: a thread that waits for each is woken by each.
      let end = (range.bytes.upperBound - 1)..<range.bytes.upperBound
      let waits = try? [end, range.bytes].count { try range.file.fetch($0) }
      let waited = waits.map { $0 > 0 || isMissing && range.file.isResident(range.bytes) }
      // What isn't in memory even now won't ever be. Not its first page, nor the last: those may start readahead, and wait for that.
      let isKept: Bool
      if waited == true && work.isFirst {
        let start = min(range.bytes.lowerBound + 4096, range.bytes.upperBound - 1)
        isKept = (try? range.file.fetch(start..<(start + 1))) == false
      } else {
        isKept = true
      }
      pool.state.withLock { $0.finish(range, waited: waited, isKept: isKept, now) }
    }
  }

  /// Seconds.
  static var now: UInt32 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt32(clamping: time.tv_sec) + 1
  }
}

extension Prefetcher.State {
  fileprivate mutating func with<Result>(
    _ file: SourceFile, _ body: (inout Prefetcher.Source) -> Result
  ) -> Result {
    let count = (file.size + Prefetcher.pieceCount - 1) / Prefetcher.pieceCount
    return body(
      &sources[
        ObjectIdentifier(file),
        default: Prefetcher.Source(file: file, pieces: [UInt32](repeating: 0, count: count))])
  }

  /// Queues what is missing of `range`.
  fileprivate mutating func request(_ range: SourceRange, _ now: UInt32) -> Prefetcher.Answer {
    let key = ObjectIdentifier(range.file)
    let (first, last) = (range.bytes.lowerBound, range.bytes.upperBound - 1)
    let pieces = (first / Prefetcher.pieceCount)...(last / Prefetcher.pieceCount)
    var new: [Int] = []
    let room = Prefetcher.maxQueue - (queue.count - head)
    let answer = with(range.file) { source -> Prefetcher.Answer in
      guard source.warmth == .unknown || source.warmth == .cold else { return .warm }
      var answer = Prefetcher.Answer.warm
      for piece in pieces where piece < source.pieces.count {
        let then = source.pieces[piece]
        if then != Prefetcher.pending && then != 0 && now < then + Prefetcher.maxAge
          && !range.file.isMissing(source.bytes(of: piece).clamped(to: range.bytes))
        {
          // Read a moment ago, for this reader or one before it in its order: what comes behind is asked for, too.
          if source.warmth == .cold && now < then + Prefetcher.maxMoment { answer = .asked }
          continue
        }
        answer = .asked
        if then == Prefetcher.pending { continue }
        if source.warmth == .unknown && source.pending == 0 {
          let start = piece * Prefetcher.pieceCount
          let isMissing = range.file.isMissing(start..<(start + 1))
          source.maxPending = isMissing ? Prefetcher.maxMissing : Prefetcher.maxQuick
        }
        if source.warmth == .unknown && source.pending >= source.maxPending || new.count >= room {
          return .full
        }
        source.pieces[piece] = Prefetcher.pending
        source.pending += 1
        new.append(piece)
      }
      return answer
    }
    queue += new.map { (key, $0) }
    return answer
  }

  fileprivate mutating func take() -> (range: SourceRange, isFirst: Bool)? {
    guard head < queue.count else { return nil }
    let (key, piece) = queue[head]
    head += 1
    if head == Prefetcher.maxQueue || head == queue.count {
      queue.removeFirst(head)
      head = 0
    }
    guard let source = sources[key] else { return nil }
    if source.warmth == .warm || source.warmth == .unkept {
      sources[key]?.pieces[piece] = 0
      sources[key]?.pending -= 1
      return nil
    }
    return (SourceRange(source.file, source.bytes(of: piece)), source.warmth == .unknown)
  }

  /// - Parameter waited: whether the piece wasn't there; `nil` if it can't be read, which whoever needs it will find out.
  fileprivate mutating func finish(_ range: SourceRange, waited: Bool?, isKept: Bool, _ now: UInt32) {
    with(range.file) { source in
      source.pieces[range.bytes.lowerBound / Prefetcher.pieceCount] = waited == nil ? 0 : now
      source.pending -= 1
      guard let waited else { return }
      source.quick = waited ? 0 : source.quick + 1
      if source.warmth == .unkept { return }
      if !isKept {
        source.lost += 1
        if source.lost == min(Prefetcher.maxQuick, source.pieces.count) { source.warmth = .unkept }
      } else if waited {
        source.warmth = .cold
      }
      if source.quick >= min(Prefetcher.maxQuick, source.pieces.count) { source.warmth = .warm }
    }
  }
}
