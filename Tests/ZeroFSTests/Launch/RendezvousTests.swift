import Bytes
import Dispatch
import Foundation
import Synchronization
import Testing

@testable import Store

@Suite struct RendezvousTests {
  private let directory = FileManager.default.temporaryDirectory.appending(
    path: "zerofs-rendezvous-\(UUID())"
  ).path

  private func come(
    _ rank: Int, of world: Int, fingerprint: String = "one", host: String = "node",
    patience: Duration = .seconds(20),
    failure: String? = nil
  ) -> String {
    do {
      let meeting = try Rendezvous(
        in: directory, try Share(rank: rank, world: world), fingerprint: fingerprint, host: host,
        patience: patience)
      if let failure {
        meeting.fail(failure)
        return "failed"
      }
      try meeting.wait()
      return "went on"
    } catch { return "\(error)" }
  }

  /// All at once; what became of each rank.
  private func meet(_ world: Int, _ body: @escaping @Sendable (Int) -> String) -> [String] {
    let results = Mutex([String](repeating: "", count: world))
    let group = DispatchGroup()
    for rank in 0..<world {
      group.enter()
      Thread.detachNewThread {
        let result = body(rank)
        results.withLock { $0[rank] = result }
        group.leave()
      }
    }
    group.wait()
    return results.withLock { $0 }
  }

  @Test func nobodyGoesOnBeforeAllHaveCome() throws {
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let come = Mutex(0)
    let seen = meet(4) { rank in
      // Rank 0 is among the last, so that the others find what is not there yet.
      usleep(rank == 1 ? 400_000 : rank == 0 ? 200_000 : 0)
      come.withLock { $0 += 1 }
      let result = self.come(rank, of: 4)
      return come.withLock { $0 } == 4 ? result : "too early"
    }
    #expect(seen == [String](repeating: "went on", count: 4))
    // Nothing of the ranks stays.
    #expect(
      Set(try FileManager.default.contentsOfDirectory(atPath: directory + "/.zerofs-run")) == [
        "call", "verdict",
      ])
  }

  /// The second run finds the call and the verdict of the first, and those who come before rank 0 answer the old one.
  @Test(arguments: 1...3) func whatAnotherRunLeftMisleadsNobody(late: Int) throws {
    defer { try? FileManager.default.removeItem(atPath: directory) }
    #expect(meet(3) { self.come($0, of: 3) } == [String](repeating: "went on", count: 3))
    // As a killed rank leaves it: an answer to the old call.
    let call = try String(contentsOfFile: directory + "/.zerofs-run/call", encoding: .utf8)
    _ = FileManager.default.createFile(
      atPath: directory + "/.zerofs-run/\(call)~1~dead~one~node~ready", contents: nil)
    let begun = Mutex(false)
    let seen = meet(3) { rank in
      if rank == 0 {
        usleep(UInt32(late * 150_000))
        begun.withLock { $0 = true }
      }
      let result = self.come(rank, of: 3)
      return begun.withLock { $0 } ? result : "too early"
    }
    #expect(seen == [String](repeating: "went on", count: 3))
  }

  @Test(arguments: [0, 2]) func oneFailureStopsAll(failing: Int) {
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let seen = meet(3) { rank in
      if rank == 1 { usleep(300_000) }  // after the verdict
      return self.come(rank, of: 3, failure: rank == failing ? "node7: no model\nthere" : nil)
    }
    for (rank, result) in seen.enumerated() {
      #expect(result == (rank == failing ? "failed" : "node7: no model there"))
    }
  }

  @Test func anotherSourceIsNamedByItsHost() {
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let seen = meet(3) { self.come($0, of: 3, fingerprint: $0 == 2 ? "two" : "one", host: "node\($0)") }
    #expect(seen == [String](repeating: "node2 has another source or layout than node0", count: 3))
  }

  @Test func whoDoesNotComeIsMissed() {
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let seen = meet(2) { self.come($0, of: 3, patience: .milliseconds(300)) }
    #expect(seen[0].hasPrefix("1 of the launcher's ranks, rank 2 among them, didn't come to"))
    #expect(seen[1].contains("didn't come to"))
    #expect(come(1, of: 2, patience: .milliseconds(100)).contains("rank 0 among them"))
  }
}
