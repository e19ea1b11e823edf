import Bytes

/// The way back: the tensors of the Hugging Face files from the parameters of all ranks, by the rule that cut them (`Sharding`).
package struct HuggingFaceTensors: Sendable {
  /// A parameter of tensor-parallel rank `tp`: its module, and its name relative to it.
  package typealias Parameters = (_ module: MegatronModule, _ name: String, _ tp: Int) throws ->
    TensorExpression

  private struct Origin {
    let module: MegatronModule
    let entry: ParameterTable.Entry
    /// In the entry's `contents`.
    let content: Int
    let tensor: HFTensor
  }

  private let parallelism: TensorParallelism
  /// By the name of the tensor: the parameters that its parts are in.
  private let origins: [String: [Origin]]
  /// Parts of parameters without a tensor in the files, such as biases that transformers lacks: where these hold anything else
  /// than the constant, it is lost.
  package let withoutTensor: [(module: MegatronModule, name: String, content: Int, constant: Float)]

  /// - Parameter vocabularyRows: of the model's files; those that stand for a token where it isn't given.
  init(_ geometry: MegatronGeometry, vocabularyRows: Int? = nil) {
    parallelism = geometry.parallelism
    var origins: [String: [Origin]] = [:]
    var withoutTensor: [(MegatronModule, String, Int, Float)] = []
    var table = geometry.table
    (table.isTied, table.vocabularyRows) = (
      geometry.isTied, vocabularyRows ?? geometry.vocabulary.size
    )
    for module in geometry.allModules {
      for entry in table.entries(of: module) {
        for (index, content) in entry.sharding.contents.enumerated() {
          switch content {
          case .stored(let tensor):
            origins[tensor.name, default: []].append(
              Origin(module: module, entry: entry, content: index, tensor: tensor))
          case .constant(let value, _): withoutTensor.append((module, entry.name, index, value))
          }
        }
      }
    }
    (self.origins, self.withoutTensor) = (origins, withoutTensor)
  }

  package var names: [String] { origins.keys.sorted() }

  /// The shape of a tensor in the files.
  package func shape(of name: String) -> [Int]? { origins[name]?.first?.tensor.storedShape }

  /// What a folding loses of the tensor on the way to fp32 parameters and back.
  package func rounding(of name: String) -> Rounding {
    (origins[name] ?? []).map(\.tensor.rounding).max {
      ($0.relative, $0.absolute) < ($1.relative, $1.absolute)
    }
      ?? .init()
  }

  /// The tensor `name`, or a state of the optimizer in its shape; vocabulary padding is left out, and what several ranks have is
  /// the first one's.
  func tensor(
    _ name: String, _ value: StoredValue = .parameter, from parameters: Parameters
  ) rethrows -> TensorExpression {
    guard let origins = origins[name] else { preconditionFailure("\(name) is none of the model's tensors") }
    return HFTensor.stored(
      try origins.map { origin in (origin.tensor, try view(origin, parameters)) }, value)
  }

  private func view(_ origin: Origin, _ parameters: Parameters) rethrows -> TensorExpression {
    try origin.entry.sharding.whole(origin.content, parallelism) { tp in
      try parameters(origin.module, origin.entry.name, tp)
    }
  }
}

extension Sharding {
  /// One of the contents whole, from the parameters of all tensor-parallel ranks: the inverse of what `blocks` cut. What several
  /// ranks have is the first one's.
  func whole(
    _ content: Int, _ parallelism: TensorParallelism, from parameter: (_ tp: Int) throws -> TensorExpression
  ) rethrows -> TensorExpression {
    let ranks = isReplicated ? 0..<1 : 0..<parallelism.size
    var pieces: [(Block, TensorExpression)] = []
    for tp in ranks {
      let parameter = try parameter(tp)
      for pair in blocks(parallelism, tp: tp) where pair.content == content && !pair.whole.rows.isEmpty {
        pieces.append((pair.whole, parameter.block(pair.part)))
      }
    }
    return .assembling(contents[content].shape, pieces, dtype: pieces[0].1.dtype)
  }
}
