import Bytes

/// Two places of a checkpoint that hold the same numbers.
package struct Redundancy: Sendable {
  /// The parameter, and what of it: `3.input_layernorm.weight of tensor-parallel ranks 0 and 1`.
  package let what: String
  package let shape: [Int]
  package let dtype: DType
  package let first: VirtualFile
  package let second: VirtualFile

  init(_ what: String, _ first: TensorExpression, _ second: TensorExpression) {
    self.what = what
    (shape, dtype) = (first.shape, first.dtype)
    (self.first, self.second) = (VirtualFile(first.extents), VirtualFile(second.extents))
  }
}

extension TrainedCheckpoint {
  /// What training keeps equal: the weights that are computed with and the masters that they are rounded from; parameters that
  /// tensor-parallel ranks don't share; a tied embedding's masters on its two stages.
  package var redundancies: [Redundancy] {
    guard let geometry else { return rounded(ranks[0], names: ranks[0].names.sorted(), "") }
    let layout = geometry.layout
    var found: [Redundancy] = []
    for pp in 0..<layout.pp {
      for module in geometry.modules(of: pp) {
        for entry in geometry.table.entries(of: module) {
          let name = geometry.qualifiedName(module, entry.name)
          for tp in 0..<layout.tp {
            let rank = ranks[layout.modelParallelRank(tp: tp, pp: pp)]
            let number = layout.modelParallelRank(tp: tp, pp: pp)
            found += rounded(rank, names: [name], " of mp_rank \(number)")
            guard let master = rank.value(of: name, .master) else { continue }
            if entry.sharding.isReplicated, tp > 0,
              let first = ranks[layout.modelParallelRank(tp: 0, pp: pp)].value(of: name, .master)
            {
              found.append(
                Redundancy(
                  "master of \(name) of mp_rank \(number), and of its first tensor-parallel rank", master,
                  first))
            }
            if module == .embedding && pp > 0, let first = ranks[tp].value(of: name, .master) {
              found.append(Redundancy("master of \(name) of the last stage, and of the first", master, first))
            }
          }
        }
      }
    }
    return found
  }

  private func rounded(_ rank: TrainedRank, names: [String], _ place: String) -> [Redundancy] {
    names.compactMap { name in
      guard rank.optimizer?.masters != nil, let parameter = rank.stored(name),
        let master = rank.value(of: name, .master)
      else { return nil }
      return Redundancy("\(name)\(place), and its master", parameter, master.cast(to: parameter.dtype))
    }
  }
}

extension TrainedRank {
  /// The weight that the engine's model has; `nil` where it is made from the master.
  fileprivate func stored(_ name: String) -> TensorExpression? {
    isStored(name) ? value(of: name, .parameter) : nil
  }
}
