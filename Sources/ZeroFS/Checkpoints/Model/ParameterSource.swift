import Bytes
import HuggingFace

/// What a checkpoint has of each element of a parameter.
enum StoredValue: Sendable, Hashable {
  /// The weight in the dtype that the run computes in.
  case parameter
  /// The fp32 weight that the optimizer updates.
  case master
  /// A state of the optimizer, one element for each of the parameter's, under torch's name.
  case state(String)

  /// By which power of a weight's factor the value changes with it, where the model computes the same: 1 of the weight, -1 of what
  /// gradients are averaged in, -2 of their squares. `nil` of a state that isn't known.
  var power: Int? {
    switch self {
    case .parameter, .master: 1
    case .state("exp_avg"), .state("momentum_buffer"): -1
    case .state("exp_avg_sq"), .state("max_exp_avg_sq"), .state("hessian"): -2
    case .state: nil
    }
  }
}

/// Where the parameters of a model come from: what of `Sharding.contents` they are cut from, whole.
protocol ParameterSource: Sendable {
  /// Whether the optimizer's weights are there, too; else they are made from the parameters.
  var hasMasters: Bool { get }
  /// The optimizer's states that there are.
  var states: [String] { get }
  /// One of the contents of a parameter: `[rows, in]`, or `[rows]` of a vector.
  func content(
    _ index: Int, of entry: ParameterTable.Entry, in module: MegatronModule, _ value: StoredValue
  ) -> TensorExpression
}

/// The files of a Hugging Face model, before the first step.
struct HuggingFaceSource: ParameterSource {
  let directory: HuggingFaceDirectory
  let hasMasters = false
  let states: [String] = []

  func content(
    _ index: Int, of entry: ParameterTable.Entry, in module: MegatronModule, _ value: StoredValue
  ) -> TensorExpression {
    switch entry.sharding.contents[index] {
    case .stored(let tensor):
      // `MegatronModel.init` found each tensor and checked its shape.
      guard let stored = try? directory.tensor(of: tensor) else {
        preconditionFailure("\(tensor.name) is not what it was when the model was planned")
      }
      return tensor.view(of: stored, value)
    case .constant(let value, let shape):
      // 0 or 1, which every dtype has.
      return .filled(value, shape: shape, dtype: .bfloat16)
    }
  }
}
