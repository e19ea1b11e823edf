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

  @Test func noMoreThanTheSystemHas() {
    #expect((1...sysconf(Int32(_SC_NPROCESSORS_ONLN))).contains(Workers.cores))
  }
}
