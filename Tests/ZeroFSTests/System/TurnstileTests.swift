import Synchronization
import Testing

@testable import Bytes

@Suite struct TurnstileTests {
  private struct Failed: Error {}

  @Test(arguments: [1, 3, 8])
  func inOrder(threads: Int) throws {
    let gate = Turnstile<[Int]>([])
    let numbers = Array(0..<200)
    _ = try Workers.run(threads, numbers, ByteProgress(totalBytes: 0)) { number in
      try gate.pass(number) { $0.append(number) }
    }
    #expect(try gate.pass(200) { $0 } == numbers)
  }

  /// Of those behind one that fails, or that doesn't come, nobody waits for ever; the failure is what is told.
  @Test(arguments: [true, false])
  func failure(inside: Bool) {
    let gate = Turnstile(0)
    #expect(throws: Failed.self) {
      _ = try Workers.run(4, Array(0..<100), ByteProgress(totalBytes: 0)) { number in
        do {
          if number == 50 && !inside { throw Failed() }
          try gate.pass(number) {
            if number == 50 { throw Failed() }
            $0 += 1
          }
        } catch {
          gate.close()
          throw error
        }
      }
    }
    #expect(throws: Cancelled.self) { try gate.pass(0) { _ in } }
  }
}

@Suite struct PartitionIndexTests {
  @Test func everyPlace() {
    for count in 0..<20 {
      for place in 0...count {
        #expect(Array(0..<count).partitionIndex { $0 >= place } == place)
        #expect(
          (0..<count).dropFirst(min(2, count)).partitionIndex { $0 >= place } == max(place, min(2, count)))
      }
    }
  }
}
