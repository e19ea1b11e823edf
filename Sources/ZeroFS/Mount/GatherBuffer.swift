import Bytes

/// Memory for one window. A thread that composes or sends a window has it alone.
final class GatherBuffer: @unchecked Sendable {
  // Unchecked: it is idle, or with a window ahead, or with one thread, never two of them, and the lock of `ReadAhead` orders them.
  var gather: Gather

  /// - Parameter capacity: the longest window, in bytes.
  init(capacity: Int) { gather = Gather(capacity: capacity) }
}

/// Buffers that nobody has. A few are kept: there may be as many as reads at a time (`FuseServer.maxThreads`), of a megabyte
/// each.
struct IdleBuffers {
  let maxCount: Int
  private var buffers: [GatherBuffer] = []

  init(maxCount: Int) { self.maxCount = maxCount }

  mutating func take() -> GatherBuffer? { buffers.popLast() }

  /// Drops it where there are enough.
  mutating func keep(_ buffer: GatherBuffer) {
    if buffers.count < maxCount { buffers.append(buffer) }
  }
}
