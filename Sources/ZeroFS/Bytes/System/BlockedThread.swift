import Glibc

/// How often the calling thread had to wait: for storage, or for a lock. A thread that only lost its processor to another doesn't
/// count, so that this tells a read from memory from one that wasn't, however busy the machine is.
package enum BlockedThread {
  package static var count: Int {
    var usage = rusage()
    getrusage(thread, &usage)
    return usage.ru_nvcsw
  }

  /// `RUSAGE_THREAD`, which the Glibc module hides.
  private static let thread: Int32 = 1
}
