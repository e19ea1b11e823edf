import Bytes
import Torch

/// What one file holds of the optimizer's state: the tensors that the inner optimizer updates, one for each flat tensor of the
/// rank, or for each parameter where the state isn't flattened.
struct OptimizerPart: Sendable {
  /// A member of the inner optimizer's state, under torch's name.
  struct Member: Sendable {
    enum Kind: Sendable {
      /// One element for each of the parameters'; flat.
      case elementwise([TensorExpression])
      /// How many updates there were.
      case step(Int)
      /// Anything else.
      case other(PickleValue)
    }
    let name: String
    let kind: Kind
  }

  /// Flat fp32 weights; `nil` where the parameters are these themselves.
  let masters: [TensorExpression]?
  let members: [Member]
  /// `param_groups` of the inner optimizer.
  let groups: [PickleValue]
  /// Whether the count of updates is a tensor.
  let countsStepsInTensors: Bool
  /// `LossScaler`, or the members that stand for it at stage 0.
  let lossScale: PickleValue?
  let clipGrad: Double?

  /// How parameters became the flat tensors, by what the state looks like.
  enum Form: Sendable, Equatable {
    /// `DeepSpeedZeroOptimizer` of stages 1 and 2, `BF16_Optimizer`.
    case flattenedGroups
    /// Of stage 3.
    case slicedParameters
    /// `FP16_UnfusedOptimizer`, and no wrapper: each parameter by itself, whole.
    case parameters
    /// `FP16_Optimizer`: each group whole.
    case groups
  }
  let form: Form

  /// - Parameters:
  ///   - state: `optimizer_state_dict`, or what stands for it at stage 0.
  ///   - path: of the file.
  ///   - isRead: whether the inner optimizer's state is wanted, too; else any is read past.
  /// - Throws: `TrainedError.unreadable`, `TrainedError.unsupported`.
  init(_ state: PickleValue, path: String, isRead: Bool) throws(TrainedError) {
    let inner: PickleValue?
    (form, masters, inner) = try OptimizerPart.unwrapped(state, path: path)
    lossScale = state["loss_scaler"] ?? (state["cur_scale"] == nil ? nil : state)
    clipGrad = state["clip_grad"]?.number
    if form == .flattenedGroups { try OptimizerPart.checkPadding(state, inner, path: path, isRead: isRead) }
    guard isRead else {
      (groups, members, countsStepsInTensors) = ([], [], true)
      return
    }
    guard let inner, let states = inner["state"]?.items, let groups = inner["param_groups"]?.elements else {
      throw .unreadable(path: path, why: "it has no state of an optimizer")
    }
    self.groups = groups
    let ordered = states.sorted { ($0.key.integer ?? 0) < ($1.key.integer ?? 0) }
    countsStepsInTensors = ordered.first?.value["step"].map { $0.tensor != nil } ?? true
    members = try OptimizerPart.members(ordered.map(\.value), like: masters?.map(\.count), path: path)
  }

  /// What DeepSpeed's wrapper holds, and the state of the optimizer inside.
  private static func unwrapped(_ state: PickleValue, path: String) throws(TrainedError)
    -> (form: Form, masters: [TensorExpression]?, inner: PickleValue?)
  {
    func tensors(_ value: PickleValue?, _ what: String) throws(TrainedError) -> [TensorExpression] {
      let found = value?.elements?.map(\.tensor) ?? [nil]
      let tensors = found.compactMap { $0?.flattened() }
      guard tensors.count == found.count else { throw .unreadable(path: path, why: "it has no \(what)") }
      return tensors
    }
    if let partition = state["single_partition_of_fp32_groups"] {
      let masters = try tensors(partition, "single_partition_of_fp32_groups")
      return (.flattenedGroups, masters, state["base_optimizer_state"])
    }
    let inner = state["optimizer_state_dict"]
    if let groups = state["fp32_flat_groups"] {
      return (.slicedParameters, try tensors(groups, "fp32_flat_groups"), inner)
    }
    if let groups = state["fp32_groups"]?.elements {
      var all: [TensorExpression] = []
      for group in groups { all += try tensors(group, "fp32_groups") }
      return (.parameters, all, inner)
    }
    if let flat = state["fp32_groups_flat"] {
      return (.groups, try tensors(flat, "fp32_groups_flat"), inner)
    }
    return (.parameters, nil, state)
  }

  private static func checkPadding(_ state: PickleValue, _ inner: PickleValue?, path: String, isRead: Bool)
    throws(TrainedError)
  {
    if case .list? = inner, isRead {
      throw .unsupported(
        path: path, what: "elastic_checkpoint", why: "states without their padding aren't served.")
    }
    for case let paddings in state["param_alignment_paddings"]?.elements ?? []
    where paddings.elements?.contains(where: { $0.integer != 0 }) == true {
      throw .unsupported(
        path: path, what: "zero_optimization.parameter_alignment", why: "aligned parameters aren't served.")
    }
  }

  init(form: Form, masters: [TensorExpression]?, members: [Member], groups: [PickleValue]) {
    (self.form, self.masters, self.members, self.groups) = (form, masters, members, groups)
    (lossScale, clipGrad, countsStepsInTensors) = (nil, nil, true)
  }

  /// - Throws: `TrainedError.disagree` where this isn't a part of the same state as `other`.
  func check(like other: OptimizerPart, path: String) throws(TrainedError) {
    func names(_ part: OptimizerPart) -> String { part.members.map(\.name).joined(separator: ", ") }
    if form != other.form || names(self) != names(other) {
      throw .disagree(
        path: path, what: "the optimizer's state", has: "\(form) with \(names(self))",
        needs: "\(other.form) with \(names(other))")
    }
    if let step, let needed = other.step, step != needed {
      throw .disagree(path: path, what: "the optimizer's step", has: "\(step)", needs: "\(needed)")
    }
  }

  /// Updates so far; `nil` where the optimizer doesn't count them.
  var step: Int? {
    for member in members { if case .step(let step) = member.kind { return step } }
    return nil
  }

  private static func members(_ states: [PickleValue], like counts: [Int]?, path: String) throws(TrainedError)
    -> [Member]
  {
    guard let first = states.first else { return [] }
    if let counts, counts.count != states.count {
      throw .unreadable(
        path: path, why: "it has states of \(states.count) tensors, and \(counts.count) of these")
    }
    var members: [Member] = []
    for (name, value) in first.namedItems ?? [] {
      let values = states.compactMap { $0[name] }
      guard values.count == states.count else {
        throw .unreadable(path: path, why: "not every tensor has the state \(name)")
      }
      members.append(Member(name: name, kind: try kind(name, value, values, counts, path: path)))
    }
    return members
  }

  private static func kind(
    _ name: String, _ first: PickleValue, _ values: [PickleValue], _ counts: [Int]?, path: String
  ) throws(TrainedError) -> Member.Kind {
    if name == "step" {
      var steps: Set<Int> = []
      for value in values { steps.insert(try step(value, path: path)) }
      guard let step = steps.first, steps.count == 1 else {
        throw .unsupported(
          path: path, what: "step", why: "the tensors of one rank were updated different numbers of times.")
      }
      return .step(step)
    }
    let tensors = values.compactMap(\.tensor)
    guard tensors.count == values.count else { return .other(first) }
    // The weights lack the padding that the states have.
    let isElementwise =
      counts.map { counts in zip(tensors, counts).allSatisfy { $0.shape != [] && $0.count >= $1 } }
      ?? tensors.allSatisfy { $0.shape != [] }
    return isElementwise ? .elementwise(tensors.map { $0.flattened() }) : .other(first)
  }

  /// A number, or a tensor of one, which is read.
  static func step(_ value: PickleValue, path: String) throws(TrainedError) -> Int {
    if let number = value.wholeNumber { return number }
    guard let tensor = value.tensor, tensor.count == 1, tensor.dtype == .float32 || tensor.dtype == .int64
    else {
      throw .unreadable(path: path, why: "the optimizer's step is no number")
    }
    let bytes: [UInt8]
    do { bytes = try VirtualFile(tensor.extents).bytes() } catch {
      throw .unreadable(path: path, why: error.reason)
    }
    let step =
      tensor.dtype == .float32
      ? Int(exactly: bytes.withUnsafeBytes { $0.loadUnaligned(as: Float.self) })
      : bytes.withUnsafeBytes { $0.loadUnaligned(as: Int.self) }
    guard let step, step >= 0 else {
      throw .unreadable(path: path, why: "the optimizer's step is no count of updates")
    }
    return step
  }
}
