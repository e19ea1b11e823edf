import Glibc
import Testing

@testable import Bytes
@testable import Mount

/// Windows that are composed before they are asked for. What is in a lease is seen by its pieces.
@Suite struct GatherPoolTests {
  let pool = GatherPool(capacity: 64, processors: 1000)
  let file = VirtualFile((0..<10).map { String(repeating: "\($0)", count: 10) }.joined())

  func handle() -> FileHandle { FileHandle(OpenFile(path: "file", file: file)) }
  func request(_ number: Int) -> ReadRequest {
    ReadRequest(pointer: OpaquePointer(bitPattern: number), pace: handle().advance(over: 0..<1))
  }

  /// As the callback does: `window` was answered from `lease`, and `next` is composed in it.
  func compose(_ next: Range<Int>, of handle: FileHandle, in lease: GatherPool.Lease) throws -> Bool {
    guard pool.begin(next, of: handle, in: lease) else { return false }
    try file.read(next, into: &lease.gather, verbatim: .mapped)
    #expect(pool.end(lease, isComposed: true) == nil)
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
    let handle = handle()
    handle.answering {
      usleep(2000)
      // Asked for before the thread that answered got so far.
      #expect(!handle.advance(over: 0..<10).isUnhurried)
    }
    usleep(2000)
    #expect(handle.advance(over: 0..<10).isUnhurried)
    // Two milliseconds are little for a copy of a terabyte.
    #expect(!handle.advance(over: 0..<(1 << 40)).isUnhurried)
  }

  /// A processor for each reader and for each thread with a lease. A reader is whoever was heard of in sixteen reads.
  @Test(arguments: [true, false]) func nothingIsComposedAheadWithoutAProcessor(released: Bool) throws {
    let pool = GatherPool(capacity: 64, processors: 2)
    let (first, second) = (handle(), handle())
    let lease = try #require(pool.lend(0..<10, of: first, to: request(1))).lease
    #expect(pool.begin(10..<20, of: first, in: lease))
    #expect(pool.end(lease, isComposed: true) == nil)
    let other = try #require(pool.lend(0..<10, of: second, to: request(1))).lease
    #expect(!pool.begin(10..<20, of: second, in: other))
    pool.giveBack(other)
    if released { pool.forget(second) }
    for read in 1...16 {
      let loan = try #require(pool.lend(10..<20, of: first, to: request(1)))
      let begun = pool.begin(20..<30, of: first, in: loan.lease)
      #expect(begun == (released || read == 16))
      if begun { #expect(pool.end(loan.lease, isComposed: true) == nil) } else { pool.giveBack(loan.lease) }
    }
  }

  @Test func aComposedWindowIsLent() throws {
    let handle = handle()
    let loan = try #require(pool.lend(0..<10, of: handle, to: request(1)))
    #expect(!loan.isComposed)
    #expect(try compose(10..<20, of: handle, in: loan.lease))
    // Others don't get it.
    let other = try #require(pool.lend(10..<20, of: self.handle(), to: request(2)))
    #expect(!other.isComposed && other.lease !== loan.lease)
    let next = try #require(pool.lend(10..<20, of: handle, to: request(3)))
    #expect(next.isComposed && next.lease === loan.lease)
    #expect(next.lease.gather.bytes == Array("1111111111".utf8))
  }

  @Test(arguments: [20..<30, 10..<19, 10..<21]) func anotherWindowIsNotComposed(asked: Range<Int>) throws {
    let handle = handle()
    let loan = try #require(pool.lend(0..<10, of: handle, to: request(1)))
    #expect(try compose(10..<20, of: handle, in: loan.lease))
    let next = try #require(pool.lend(asked, of: handle, to: request(2)))
    #expect(!next.isComposed)
    pool.giveBack(next.lease)
    // And the window that nobody wanted is gone.
    #expect(try #require(pool.lend(10..<20, of: handle, to: request(3))).isComposed == false)
  }

  @Test(arguments: [true, false]) func whoComposesAnswersWhoAsksMeanwhile(succeeds: Bool) throws {
    let handle = handle()
    let lease = try #require(pool.lend(0..<10, of: handle, to: request(1))).lease
    #expect(pool.begin(10..<20, of: handle, in: lease))
    #expect(pool.lend(10..<20, of: handle, to: request(2)) == nil)
    // A second reader of the same window, and one of another, are not kept waiting.
    #expect(pool.lend(10..<20, of: handle, to: request(3)) != nil)
    #expect(pool.lend(50..<60, of: handle, to: request(4)) != nil)
    #expect(pool.end(lease, isComposed: succeeds)?.pointer == request(2).pointer)
    // The lease is the caller's until it is given back.
    #expect(try #require(pool.lend(20..<30, of: handle, to: request(5))).lease !== lease)
  }

  @Test func whatCannotBeComposedIsTriedAgain() throws {
    let handle = handle()
    let lease = try #require(pool.lend(0..<10, of: handle, to: request(1))).lease
    #expect(pool.begin(10..<20, of: handle, in: lease))
    #expect(pool.end(lease, isComposed: false) == nil)
    #expect(try #require(pool.lend(10..<20, of: handle, to: request(2))).isComposed == false)
  }

  @Test(arguments: [true, false]) func aReleasedHandleIsForgotten(whileComposing: Bool) throws {
    var handle: FileHandle? = handle()
    weak let released = handle
    let lease = try #require(pool.lend(0..<10, of: handle!, to: request(1))).lease
    #expect(pool.begin(10..<20, of: handle!, in: lease))
    if !whileComposing { #expect(pool.end(lease, isComposed: true) == nil) }
    pool.forget(handle!)
    handle = nil
    #expect(released == nil)
    if whileComposing { #expect(pool.end(lease, isComposed: true) == nil) }
    #expect(try #require(pool.lend(0..<10, of: self.handle(), to: request(2))).lease === lease)
  }

  @Test func tenWindowsAreKeptAndTheStaleMakeRoom() throws {
    var handles: [FileHandle] = []
    for number in 0..<10 {
      handles.append(handle())
      let loan = try #require(pool.lend(0..<10, of: handles[number], to: request(1)))
      #expect(try compose(10..<20, of: handles[number], in: loan.lease))
    }
    let late = handle()
    let loan = try #require(pool.lend(0..<10, of: late, to: request(1)))
    #expect(try !compose(10..<20, of: late, in: loan.lease))
    pool.giveBack(loan.lease)
    // The others read on, but for the first.
    for round in 1...200 {
      for handle in handles.dropFirst() {
        let window = (round % 9 * 10)..<(round % 9 * 10 + 10)
        let loan = try #require(pool.lend(window, of: handle, to: request(1)))
        let next = window.upperBound..<(window.upperBound + 10)
        #expect(try compose(next, of: handle, in: loan.lease))
      }
    }
    let again = try #require(pool.lend(0..<10, of: late, to: request(1)))
    #expect(try compose(10..<20, of: late, in: again.lease))
    #expect(try #require(pool.lend(10..<20, of: handles[0], to: request(1))).isComposed == false)
    #expect(try #require(pool.lend(10..<20, of: late, to: request(1))).isComposed)
  }
}

extension GatherPool.Loan: Equatable {
  public static func == (left: Self, right: Self) -> Bool { left.lease === right.lease }
}

extension Gather {
  fileprivate var bytes: [UInt8] {
    var bytes: [UInt8] = []
    forEachPiece { bytes += $0 }
    return bytes
  }
}
