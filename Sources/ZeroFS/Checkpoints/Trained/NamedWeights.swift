import Bytes
import HuggingFace
import Run

/// What a run has trained, under the names of the model's Hugging Face files, with the configuration that goes with them.
struct NamedWeights: Sendable {
  let configuration: ConfigurationFile
  /// In the order of `state_dict()`, without tied names.
  let names: [String]
  let isTied: Bool
  /// What the run holds of one of `names`, in the shape of the files.
  let tensor: @Sendable (_ name: String, _ value: StoredValue) -> TensorExpression
  let warnings: [String]
}

extension TrainedCheckpoint {
  /// - Parameters:
  ///   - values: those that are wanted.
  ///   - dtype: that the configuration names.
  ///   - drops: whether parameters without a place are left out.
  /// - Throws: `TrainedError`, `ModelError`, `SourceError`.
  func named(values: [StoredValue], _ dtype: DType, drops: Bool) throws -> NamedWeights {
    guard let geometry, let model else {
      return try TransformersWeights.named(self, like: like, dtype)
    }
    return try MegatronWeights.named(self, geometry, model, like: like, values, dtype, drops: drops)
  }

}

/// What a script with a model of transformers has trained, as the source of a model of MDS.
struct NamedSource: ParameterSource {
  let weights: NamedWeights
  let hasMasters = true
  let states: [String]

  func content(
    _ index: Int, of entry: ParameterTable.Entry, in module: MegatronModule, _ value: StoredValue
  ) -> TensorExpression {
    switch entry.sharding.contents[index] {
    case .stored(let tensor): return tensor.view(of: weights.tensor(tensor.name, value), value)
    case .constant(let constant, let shape):
      // What isn't trained has no moments.
      if case .state = value { return .zeros(shape, .float32) }
      return .filled(constant, shape: shape, dtype: .float32)
    }
  }
}

extension NamedWeights {
  /// - Throws: `TrainedError.unsupported` for states of weights that are changed on the way, where nobody knows what becomes of them.
  func checkStates(_ states: [String], _ table: ParameterTable, path: String) throws(TrainedError) {
    guard let state = states.first(where: { StoredValue.state($0).power == nil }),
      table.tensors.contains(where: \.isFolded)
    else { return }
    throw .unsupported(
      path: path, what: state,
      why: "something is folded into this family's weights, and it isn't known how this state goes with them."
    )
  }

  /// Every tensor of `table` is there, in its shape.
  ///
  /// - Throws: `TrainedError.unreadable`, `TrainedError.disagree`.
  func check(_ table: ParameterTable, path: String) throws(TrainedError) {
    let names = Set(names)
    for tensor in table.tensors {
      guard names.contains(tensor.name) else {
        throw .unreadable(path: path, why: "there is no parameter \(tensor.name), which the model has")
      }
      let shape = self.tensor(tensor.name, .master).shape
      if shape != tensor.storedShape {
        throw .disagree(
          path: path, what: "the shape of \(tensor.name)", has: "\(shape)", needs: "\(tensor.storedShape)")
      }
    }
  }
}
