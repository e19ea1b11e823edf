import Bytes
import Torch

/// The weights in a file of a checkpoint, next to those in one that should hold the same.
struct TensorComparison {
  private(set) var agreeing = 0
  private(set) var findings: [Finding] = []

  private let path: String

  /// Compares every parameter and master of `expected` with the one that `actual` has in its place. What else the two hold may
  /// differ.
  ///
  /// - Parameter padding: whether zeros behind the model's elements are compared, too. MDS leaves padded rows of the vocabulary
  ///   as it initialised them.
  /// - Throws: `ReadError` where the model can't be read; `TorchFileError` for a file that zerofs makes and can't read again.
  init(_ expected: VirtualFile, _ actual: SourceFile, path: String, padding: Bool) throws {
    self.path = path
    let source = VirtualFileSource(expected, name: path)
    let wanted: TorchFile
    do throws(TorchFileError) { wanted = try TorchFile(source, size: expected.count) } catch {
      if case .unreadable(let error) = error { throw error }
      throw error
    }
    let found: [String: PickleTensor]
    do {
      let tensors = try TorchFile(actual).value.tensors
      found = Dictionary(tensors.map { ($0.path, $0) }, uniquingKeysWith: { first, _ in first })
    } catch {
      findings.append(Finding(path, "\(error)"))
      return
    }
    for tensor in wanted.value.tensors {
      let added = source.isAddedBias(tensor)
      let weights = source.modelRanges(of: tensor)
      guard added || !weights.isEmpty else { continue }
      guard let other = found[tensor.path] else {
        findings.append(Finding(path, tensor: tensor.path, "is missing"))
        continue
      }
      let ranges = padding || added ? nil : weights
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

extension VirtualFileSource {
  /// Whether it is a bias that MDS has and the model hasn't: zeros before the first step.
  func isAddedBias(_ tensor: PickleTensor) -> Bool {
    guard tensor.path.hasSuffix("bias"), case .tensor(let run)? = tensor.extents.first else { return false }
    return file.isZeros(in: run.offset..<(run.offset + tensor.extents[0].count))
  }

  /// The bytes of a tensor, counted from its first, that are weights: not literal numbers, nor zeros.
  func modelRanges(of tensor: PickleTensor) -> [Range<Int>] {
    guard case .tensor(let run)? = tensor.extents.first else { return [] }
    let place = run.offset..<(run.offset + tensor.extents[0].count)
    return file.tensorRanges(in: place).map {
      ($0.lowerBound - place.lowerBound)..<($0.upperBound - place.lowerBound)
    }
  }
}
