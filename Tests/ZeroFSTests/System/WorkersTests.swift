import Glibc
import Testing

@testable import Bytes

@Suite struct WorkersTests {
  @Test(arguments: [
    ("Name:\tzerofs\nCpus_allowed:\t3\nCpus_allowed_list:\t0-1\n", 2),
    ("Cpus_allowed:\t00000000,0000ffff,ffffffff,00000000\n", 48),
    ("Cpus_allowed:\t8\n", 1),
    ("", 1),
  ]) func processorsOfTheMask(status: String, count: Int) {
    #expect(Workers.cores(status) == count)
  }

  @Test func asManyAsTheSystemSays() {
    var set = cpu_set_t()
    #expect(sched_getaffinity(0, MemoryLayout<cpu_set_t>.size, &set) == 0)
    let count = withUnsafeBytes(of: &set) { $0.reduce(0) { $0 + $1.nonzeroBitCount } }
    #expect(Workers.cores == count)
  }
}
