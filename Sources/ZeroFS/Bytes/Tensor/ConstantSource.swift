/// One element over and over, as far as anybody reads.
final class ConstantSource: ByteSource {
  private let element: [UInt8]

  /// - Parameter value: rounded to `dtype`.
  init(_ value: Float, _ dtype: DType) {
    element = [UInt8](unsafeUninitializedCapacity: dtype.size) { buffer, count in
      withUnsafeBytes(of: value) {
        CastKernel.apply(Cast(.float32, to: dtype), from: $0, to: UnsafeMutableRawBufferPointer(buffer))
      }
      count = dtype.size
    }
  }

  var isZero: Bool { element.allSatisfy { $0 == 0 } }

  var name: String { "a constant" }
  var mapping: UnsafeRawBufferPointer? { nil }
  func verify() throws(ReadError) {}

  func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(ReadError) {
    for index in 0..<min(element.count, buffer.count) {
      buffer[index] = element[(offset + index) % element.count]
    }
    // What is filled is copied behind itself, twice as much each time.
    var filled = min(element.count, buffer.count)
    while filled < buffer.count {
      let count = min(filled, buffer.count - filled)
      UnsafeMutableRawBufferPointer(rebasing: buffer[filled..<(filled + count)])
        .copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[..<count]))
      filled += count
    }
  }
}
