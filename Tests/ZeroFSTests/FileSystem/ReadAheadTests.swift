import Synchronization
import Testing

@testable import Bytes
@testable import Mount

/// Windows that are composed before they are asked for. What is in a buffer is seen by its pieces.
@Suite struct ReadAheadTests {
  let pool = ReadAhead(capacity: 64, maxKept: 10, processors: 1000)
  let file = VirtualFile((0..<10).map { String(repeating: "\($0)", count: 10) }.joined())

  func handle() -> FileHandle { FileHandle(OpenFile(path: "file", file: file), PrefetchCursors()) }
  func request(_ number: Int) -> ReadRequest {
    ReadRequest(
      pointer: OpaquePointer(bitPattern: number), pace: handle().advance(over: 0..<1), isCold: false)
  }

  /// As the callback does: `window` was answered from `buffer`, and `next` is composed in it.
  func compose(_ next: Range<Int>, of handle: FileHandle, in buffer: GatherBuffer) throws -> Bool {
    guard pool.begin(next, of: handle, in: buffer) else { return false }
    try file.read(next, into: &buffer.gather, verbatim: .mapped)
    #expect(pool.end(buffer, isComposed: true) == nil)
    return true
  }

  @Test func aHandleKnowsOrder() {
    let handle = handle()
    let first = handle.advance(over: 0..<20).isInOrder
    #expect(!first && handle.window(after: 0..<20) == 20..<40)
    let second = handle.advance(over: 20..<50).isInOrder
    #expect(second && handle.window(after: 20..<50) == 50..<80)
    // More was asked for than what follows 0..<20.
    #expect(handle.window(after: 0..<20) == nil)
    let jump = handle.advance(over: 10..<20).isInOrder
    #expect(!jump)
    let last = handle.advance(over: 20..<90).isInOrder
    #expect(last && handle.window(after: 20..<90) == 90..<100)
    let end = handle.advance(over: 90..<100).isInOrder
    #expect(end && handle.window(after: 90..<100) == nil)
  }

  @Test func aHandleKnowsHaste() {
    let now = Mutex(0)
    let handle = FileHandle(
      OpenFile(path: "file", file: file), PrefetchCursors(), clock: { now.withLock { $0 } })
    func pass(_ nanoseconds: Int) { now.withLock { $0 += nanoseconds } }
    handle.answering {
      pass(1000)
      // Asked for before the thread that answered got so far.
      #expect(!handle.advance(over: 0..<10).isUnhurried)
    }
    // A copy of ten bytes takes a nanosecond.
    pass(1)
    #expect(!handle.advance(over: 0..<10).isUnhurried)
    pass(1)
    #expect(handle.advance(over: 0..<10).isUnhurried)
    #expect(!handle.advance(over: 0..<100).isUnhurried)
  }

  /// A processor for each reader and for each thread with a buffer. A reader is whoever was heard of in sixteen reads.
  @Test(arguments: [true, false]) func nothingIsComposedAheadWithoutAProcessor(released: Bool) throws {
    let pool = ReadAhead(capacity: 64, maxKept: 10, processors: 2)
    let (first, second) = (handle(), handle())
    let buffer = try #require(pool.lend(0..<10, of: first, to: request(1))).buffer
    #expect(pool.begin(10..<20, of: first, in: buffer))
    #expect(pool.end(buffer, isComposed: true) == nil)
    let other = try #require(pool.lend(0..<10, of: second, to: request(1))).buffer
    #expect(!pool.begin(10..<20, of: second, in: other))
    pool.giveBack(other)
    if released { pool.forget(second) }
    for read in 1...16 {
      let loan = try #require(pool.lend(10..<20, of: first, to: request(1)))
      let begun = pool.begin(20..<30, of: first, in: loan.buffer)
      #expect(begun == (released || read == 16))
      if begun { #expect(pool.end(loan.buffer, isComposed: true) == nil) } else { pool.giveBack(loan.buffer) }
    }
  }

  @Test func aComposedWindowIsLent() throws {
    let handle = handle()
    let loan = try #require(pool.lend(0..<10, of: handle, to: request(1)))
    #expect(!loan.isComposed)
    #expect(try compose(10..<20, of: handle, in: loan.buffer))
    // Others don't get it.
    let other = try #require(pool.lend(10..<20, of: self.handle(), to: request(2)))
    #expect(!other.isComposed && other.buffer !== loan.buffer)
    let next = try #require(pool.lend(10..<20, of: handle, to: request(3)))
    #expect(next.isComposed && next.buffer === loan.buffer)
    #expect(next.buffer.gather.bytes == Array("1111111111".utf8))
  }

  @Test(arguments: [20..<30, 10..<19, 10..<21]) func anotherWindowIsNotComposed(asked: Range<Int>) throws {
    let handle = handle()
    let loan = try #require(pool.lend(0..<10, of: handle, to: request(1)))
    #expect(try compose(10..<20, of: handle, in: loan.buffer))
    let next = try #require(pool.lend(asked, of: handle, to: request(2)))
    #expect(!next.isComposed)
    pool.giveBack(next.buffer)
    // And the window that nobody wanted is gone.
    #expect(try #require(pool.lend(10..<20, of: handle, to: request(3))).isComposed == false)
  }

  @Test(arguments: [true, false]) func whoComposesAnswersWhoAsksMeanwhile(succeeds: Bool) throws {
    let handle = handle()
    let buffer = try #require(pool.lend(0..<10, of: handle, to: request(1))).buffer
    #expect(pool.begin(10..<20, of: handle, in: buffer))
    #expect(pool.lend(10..<20, of: handle, to: request(2)) == nil)
    // A second reader of the same window, and one of another, are not kept waiting.
    #expect(pool.lend(10..<20, of: handle, to: request(3)) != nil)
    #expect(pool.lend(50..<60, of: handle, to: request(4)) != nil)
    #expect(pool.end(buffer, isComposed: succeeds)?.pointer == request(2).pointer)
    // The buffer is the caller's until it is given back.
    #expect(try #require(pool.lend(20..<30, of: handle, to: request(5))).buffer !== buffer)
  }

  @Test func whatCannotBeComposedIsTriedAgain() throws {
    let handle = handle()
    let buffer = try #require(pool.lend(0..<10, of: handle, to: request(1))).buffer
    #expect(pool.begin(10..<20, of: handle, in: buffer))
    #expect(pool.end(buffer, isComposed: false) == nil)
    #expect(try #require(pool.lend(10..<20, of: handle, to: request(2))).isComposed == false)
  }

  @Test(arguments: [true, false]) func aReleasedHandleIsForgotten(whileComposing: Bool) throws {
    var handle: FileHandle? = handle()
    weak let released = handle
    let buffer = try #require(pool.lend(0..<10, of: handle!, to: request(1))).buffer
    #expect(pool.begin(10..<20, of: handle!, in: buffer))
    if !whileComposing { #expect(pool.end(buffer, isComposed: true) == nil) }
    pool.forget(handle!)
    handle = nil
    #expect(released == nil)
    if whileComposing { #expect(pool.end(buffer, isComposed: true) == nil) }
    #expect(try #require(pool.lend(0..<10, of: self.handle(), to: request(2))).buffer === buffer)
  }

  @Test(arguments: [1, 24]) func noMoreWindowsAreKeptThanWanted(count: Int) throws {
    let pool = ReadAhead(capacity: 64, maxKept: count, processors: 1000)
    let handles = (0...count).map { _ in handle() }
    for (number, handle) in handles.enumerated() {
      let loan = try #require(pool.lend(0..<10, of: handle, to: request(1)))
      let begun = pool.begin(10..<20, of: handle, in: loan.buffer)
      #expect(begun == (number < count))
      if begun { #expect(pool.end(loan.buffer, isComposed: true) == nil) } else { pool.giveBack(loan.buffer) }
    }
  }

  @Test func tenWindowsAreKeptAndTheStaleMakeRoom() throws {
    var handles: [FileHandle] = []
    for number in 0..<10 {
      handles.append(handle())
      let loan = try #require(pool.lend(0..<10, of: handles[number], to: request(1)))
      #expect(try compose(10..<20, of: handles[number], in: loan.buffer))
    }
    let late = handle()
    let loan = try #require(pool.lend(0..<10, of: late, to: request(1)))
    #expect(try !compose(10..<20, of: late, in: loan.buffer))
    pool.giveBack(loan.buffer)
    // The others read on, but for the first.
    for round in 1...200 {
      for handle in handles.dropFirst() {
        let window = (round % 9 * 10)..<(round % 9 * 10 + 10)
        let loan = try #require(pool.lend(window, of: handle, to: request(1)))
        let next = window.upperBound..<(window.upperBound + 10)
        #expect(try compose(next, of: handle, in: loan.buffer))
      }
    }
    let again = try #require(pool.lend(0..<10, of: late, to: request(1)))
    #expect(try compose(10..<20, of: late, in: again.buffer))
    #expect(try #require(pool.lend(10..<20, of: handles[0], to: request(1))).isComposed == false)
    #expect(try #require(pool.lend(10..<20, of: late, to: request(1))).isComposed)
  }
}

extension ReadAhead.Loan: Equatable {
  public static func == (left: Self, right: Self) -> Bool { left.buffer === right.buffer }
}

extension Gather {
  fileprivate var bytes: [UInt8] {
    var bytes: [UInt8] = []
    forEachPiece { bytes += $0 }
    return bytes
  }
}
