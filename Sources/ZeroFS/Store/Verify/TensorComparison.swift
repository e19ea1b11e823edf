import Bytes
import Torch

/// What is wrong with a file of a tree.
package struct Finding: Sendable, CustomStringConvertible {
  /// Relative to the tree.
  package let path: String
  /// A Python path, such as `module.weight`; `nil` where it isn't about a tensor.
  package let tensor: String?
  package let what: String

  init(_ path: String, tensor: String? = nil, _ what: String) {
    (self.path, self.tensor, self.what) = (path, tensor, what)
  }

  package var description: String { "\(path): \(tensor.map { "\($0): " } ?? "")\(what)" }
}

/// The weights in a file of a checkpoint, next to those in one that should hold the same.
struct TensorComparison {
  private(set) var agreeing = 0
  private(set) var findings: [Finding] = []

  private let path: String

  /// Compares every tensor of `expected` that comes from the model with the one that `actual` has in its place. What else the
  /// two hold may differ.
  ///
  /// - Parameter padding: whether zeros behind the model's elements are compared, too. MDS leaves padded rows of the vocabulary
  ///   as it initialised them.
  /// - Throws: `ReadError` where the model can't be read.
  init(_ expected: VirtualFile, _ actual: SourceFile, path: String, padding: Bool) throws {
    self.path = path
    let source = VirtualFileSource(expected, name: path)
    let wanted: TorchFile
    do { wanted = try TorchFile(source, size: expected.count) } catch {
      if case .unreadable(let error) = error { throw error }
      preconditionFailure("zerofs can't read the file that it makes: \(error)")
    }
    let found: [String: PickleTensor]
    do {
      let tensors = try TorchFile(actual).value.tensors
      found = Dictionary(tensors.map { ($0.path, $0) }, uniquingKeysWith: { first, _ in first })
    } catch {
      findings.append(Finding(path, "\(error)"))
      return
    }
    for tensor in wanted.value.tensors where !source.modelRanges(of: tensor).isEmpty {
      guard let other = found[tensor.path] else {
        findings.append(Finding(path, tensor: tensor.path, "is missing"))
        continue
      }
      let ranges = padding ? nil : source.modelRanges(of: tensor)
      if let what = try TensorComparison.difference(tensor, other, in: ranges) {
        findings.append(Finding(path, tensor: tensor.path, what))
      } else {
        agreeing += 1
      }
    }
  }

  private static func difference(
    _ expected: PickleTensor, _ actual: PickleTensor, in ranges: [Range<Int>]?
  ) throws -> String? {
    guard expected.dtype == actual.dtype, expected.shape == actual.shape else {
      return
        "is \(actual.dtype.torchName) \(actual.shape) instead of \(expected.dtype.torchName) \(expected.shape)"
    }
    return try ElementDifferences(
      VirtualFile(expected.extents), VirtualFile(actual.extents), in: ranges,
      elementBytes: expected.dtype.size
    ).text(shape: expected.shape)
  }
}

/// Elements in which two equally long runs of bytes differ.
struct ElementDifferences {
  private(set) var count = 0
  private(set) var first: (index: Int, expected: [UInt8], actual: [UInt8])?
  let total: Int

  private static let windowCount = 1 << 20

  /// - Parameters:
  ///   - ranges: the bytes that count; `nil` for all.
  ///   - firstElement: what the runs start with, of a tensor.
  /// - Throws: `ReadError` of either.
  init(
    _ expected: VirtualFile, _ actual: VirtualFile, in ranges: [Range<Int>]? = nil, elementBytes: Int,
    firstElement: Int = 0
  ) throws(ReadError) {
    precondition(expected.count == actual.count && Self.windowCount.isMultiple(of: elementBytes))
    let ranges = ranges ?? [0..<expected.count]
    total = ranges.reduce(0) { $0 + $1.count } / elementBytes
    for range in ranges {
      for start in stride(from: range.lowerBound, to: range.upperBound, by: Self.windowCount) {
        let window = start..<min(start + Self.windowCount, range.upperBound)
        let (wanted, found) = (try expected.bytes(window), try actual.bytes(window))
        if wanted == found { continue }
        for offset in stride(from: 0, to: window.count, by: elementBytes) {
          let element = offset..<(offset + elementBytes)
          if wanted[element] == found[element] { continue }
          count += 1
          if first == nil {
            first = (
              firstElement + (start + offset) / elementBytes, Array(wanted[element]), Array(found[element])
            )
          }
        }
      }
    }
  }

  /// `nil` where nothing differs.
  func text(shape: [Int]) -> String? {
    guard let first else { return nil }
    var index: [Int] = []
    var rest = first.index
    for size in shape.reversed() {
      index.insert(rest % size, at: 0)
      rest /= size
    }
    func hexadecimal(_ bytes: [UInt8]) -> String {
      "0x" + bytes.reversed().map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
    return
      "\(count) of \(total) elements differ\(count == 1 ? "s" : ""), \(count == 1 ? "" : "first ")\(index): "
      + "\(hexadecimal(first.actual)) instead of \(hexadecimal(first.expected))"
  }
}

extension VirtualFileSource {
  /// The bytes of a tensor, counted from its first, that are weights: not literal numbers, nor zeros.
  func modelRanges(of tensor: PickleTensor) -> [Range<Int>] {
    guard case .tensor(let run)? = tensor.extents.first else { return [] }
    let place = run.offset..<(run.offset + tensor.extents[0].count)
    return file.tensorRanges(in: place).map {
      ($0.lowerBound - place.lowerBound)..<($0.upperBound - place.lowerBound)
    }
  }
}
