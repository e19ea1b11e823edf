import Bytes
import Torch

/// What the files of one model-parallel rank hold, by the names of `named_parameters()`.
struct TrainedRank: Sendable {
  /// The contents of its model states file.
  let modelState: PickleValue
  /// Of its first data-parallel rank; all agree in everything but their tensors. `nil` where the optimizer wasn't read.
  let optimizer: OptimizerPart?
  private let dtype: DType
  /// As the engine's model has them; none at stage 3.
  private let parameters: [String: TensorExpression]
  private let zero: ZeroLayout?
  /// By the parts of the data-parallel ranks.
  private let parts: [OptimizerPart]
  /// The numbers of parameters in `zero`, with their shapes.
  private let places: [String: (number: Int, shape: [Int])]

  /// - Parameters:
  ///   - groups: names and shapes of the flattened parameters, by optimizer group; at stage 3 by sub-group.
  ///   - parts: of the data-parallel ranks, with their paths.
  /// - Throws: `TrainedError.disagree` for parts of another layout.
  init(
    modelState: PickleValue, parameters: [String: TensorExpression], dtype: DType,
    groups: [[(name: String, shape: [Int])]], parts: [(path: String, part: OptimizerPart)]
  ) throws(TrainedError) {
    (self.modelState, self.parameters, self.dtype) = (modelState, parameters, dtype)
    self.parts = parts.map(\.part)
    optimizer = parts.first?.part
    var places: [String: (Int, [Int])] = [:]
    for (number, parameter) in groups.joined().enumerated() {
      places[parameter.name] = (number, parameter.shape)
    }
    self.places = places
    guard let form = optimizer?.form else {
      zero = nil
      return
    }
    let counts = groups.map { $0.map { $0.shape.reduce(1, *) } }
    let zero =
      switch form {
      case .flattenedGroups: ZeroLayout(counts, ranks: parts.count, rule: .flattenedGroups)
      // Each sub-group is given as a group, and ends with it.
      case .slicedParameters:
        ZeroLayout(counts, ranks: parts.count, rule: .slicedParameters(subGroupSize: .max))
      case .parameters: ZeroLayout(counts, ranks: 1, rule: .slicedParameters(subGroupSize: 1))
      case .groups: ZeroLayout(counts, ranks: 1, rule: .flattenedGroups)
      }
    self.zero = zero
    for (rank, (path, part)) in parts.enumerated() {
      try part.check(like: parts[0].part, path: path)
      try TrainedRank.check(part, zero, rank: form == .parameters || form == .groups ? 0 : rank, path: path)
    }
  }

  /// Each flat tensor is as long as the layout makes it; padding at the end may be left out.
  private static func check(_ part: OptimizerPart, _ zero: ZeroLayout, rank: Int, path: String)
    throws(TrainedError)
  {
    let flats =
      [("weights", part.masters)]
      + part.members.map { member in
        if case .elementwise(let tensors) = member.kind { (member.name, tensors) } else { (member.name, nil) }
      }
    for (name, tensors) in flats {
      guard let tensors else { continue }
      guard tensors.count == zero.flatCount else {
        throw .disagree(
          path: path, what: "the number of flat \(name)", has: "\(tensors.count)", needs: "\(zero.flatCount)")
      }
      for (index, tensor) in tensors.enumerated() {
        let whole = zero.count(of: index)
        let real = zero.rule == .flattenedGroups ? whole - zero.padding(of: index, rank: rank) : whole
        guard (real...whole).contains(tensor.count) else {
          throw .disagree(
            path: path, what: "the length of the flat \(name) \(index)", has: "\(tensor.count)",
            needs: "\(real) of this layout's")
        }
      }
    }
  }

  /// Names of what `value` knows beside parameters and masters, in the optimizer's order.
  var states: [String] {
    optimizer?.members.compactMap { if case .elementwise = $0.kind { $0.name } else { nil } } ?? []
  }

  /// The shape of a parameter that the rank has; `nil` where it has none of this name.
  func shape(of name: String) -> [Int]? {
    places[name]?.shape ?? parameters[name]?.shape
  }

  /// Whether the files have the weight itself, and not its master alone.
  func isStored(_ name: String) -> Bool { parameters[name]?.count ?? 0 > 0 && places[name] != nil }

  /// Whether the files have the weight itself.
  func holds(_ name: String) -> Bool { parameters[name] != nil }

  /// Names of all parameters.
  var names: Set<String> { Set(parameters.keys).union(places.keys) }

  /// What the rank has of a parameter, in the parameter's shape; `nil` where it has none.
  func value(of name: String, _ value: StoredValue) -> TensorExpression? {
    switch value {
    case .parameter:
      if let tensor = parameters[name], tensor.count > 0 { return tensor }
      return self.value(of: name, .master)?.cast(to: dtype)
    case .master:
      return joined(name, value) ?? parameters[name]?.cast(to: .float32)
    case .state: return joined(name, value)
    }
  }

  /// Put together from the flat tensors.
  private func joined(_ name: String, _ value: StoredValue) -> TensorExpression? {
    guard let zero, let (number, shape) = places[name], optimizer?.flats(value) != nil else { return nil }
    return zero.whole(number) { flat, rank in
      guard let flats = parts[rank].flats(value) else { preconditionFailure("rank \(rank) lacks \(value)") }
      return flats[flat]
    }.reshaped(shape)
  }
}

extension OptimizerPart {
  /// The flat tensors of `value`; `nil` where there are none.
  fileprivate func flats(_ value: StoredValue) -> [TensorExpression]? {
    switch value {
    case .parameter: return nil
    case .master: return masters
    case .state(let name):
      for member in members where member.name == name {
        if case .elementwise(let tensors) = member.kind { return tensors }
      }
      return nil
    }
  }
}
