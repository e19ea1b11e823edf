import Bytes
import Glibc
import HuggingFace
import Torch

/// A checkpoint that a run saved: what its files hold of each parameter, as lazy tensors. Reads pickles and zip directories, and
/// of tensors the optimizer's counts of steps.
package struct TrainedCheckpoint: Sendable {
  /// What is wanted of it: the less, the fewer files are read.
  package enum Need: Sendable, Comparable {
    /// Weights in the dtype that the run computes in.
    case parameters
    /// The fp32 weights.
    case masters
    /// The optimizer's state, too.
    case optimizer
  }

  /// As given by the user.
  package let path: String
  let files: TrainedFiles
  let run: TrainedRun
  /// What MDS trains; `nil` of a script with a model of transformers.
  let model: RunModel?
  /// The parameters' names and shapes as the files hold them; `nil` likewise.
  let geometry: MegatronGeometry?
  /// By `mp_rank`.
  let ranks: [TrainedRank]
  package let sources: [SourceFile]
  package let need: Need

  package var tag: String { files.tag }

  /// Whether `path` is one, rather than a model's directory.
  package static func isOne(_ path: String) throws(TrainedError) -> Bool {
    try TrainedFiles.isCheckpoint(path)
  }

  /// The model's description that the user gave, or that was saved beside.
  let like: ModelDescription?

  /// - Parameters:
  ///   - tag: a directory of `path`; `nil` for the one that `latest` names.
  ///   - like: a directory with the model's description.
  /// - Throws: `TrainedError`, `SourceError`.
  package init(_ path: String, tag: String? = nil, like: String? = nil, need: Need = .optimizer) throws {
    self.path = path
    self.need = need
    files = try TrainedFiles(path, tag: tag)
    DescriptorLimit.raise()
    let names = [nil, 0].map { CheckpointNames.modelState(0, zeroRank: $0) }
    guard let name = names.first(where: files.holds) else {
      throw TrainedError.missing(path: "\(files.path)/\(names[0]).pt", of: "every save")
    }
    let first = try files.read(name)
    let run = try TrainedRun(
      first.value, path: first.file.path, isTrainers: TrainedFiles.holds("\(files.root)/trainer_state.json"))
    self.run = run
    let like = try TrainedCheckpoint.description(like, beside: run.arguments == nil ? files.root : nil)
    self.like = like
    let model = run.arguments.map {
      RunModel(arguments: $0, path: first.file.path, extensionSpec: run.extensionSpec, like: like)
    }
    self.model = model
    if files.isUniversal {
      (geometry, ranks, sources) = try TrainedCheckpoint.universal(files, first, run, model, need: need)
      return
    }
    geometry = try model.map { model in
      try MegatronGeometry(
        try model.table(vocabularySize: model.paddedVocabulary, flavor: run.flavor ?? .alcf),
        layout: run.layout, vocabulary: PaddedVocabulary(unpadded: model.paddedVocabulary),
        isTied: model.isTied)
    }
    let reader = TrainedReader(files: files, run: run, geometry: geometry, need: need)
    (ranks, sources) = try reader.read()
    try check()
  }

  /// What `path` describes; of a model of transformers' what `root` does, where HF Trainer saved that beside.
  private static func description(_ path: String?, beside root: String?) throws(SourceError)
    -> ModelDescription?
  {
    let own = root.flatMap { TrainedFiles.holds("\($0)/config.json") ? $0 : nil }
    guard let path = path ?? own else { return nil }
    return try ModelDescription(path: path)
  }

  /// The same with the optimizer's state.
  ///
  /// - Throws: likewise.
  func withOptimizer() throws -> TrainedCheckpoint {
    need == .optimizer ? self : try TrainedCheckpoint(path, tag: tag, like: like?.path, need: .optimizer)
  }

  /// When the newest of the files was written.
  package var modified: timespec {
    sources.map(\.modified).max { ($0.tv_sec, $0.tv_nsec) < ($1.tv_sec, $1.tv_nsec) } ?? timespec()
  }

  package var warnings: [String] { versionWarnings + stateWarnings + stepWarnings }

  /// Some versions of DeepSpeed save no optimizer state of a bf16 run at stage 0: `DeepSpeedVersion.countsBFloat16AsZero`.
  private var stateWarnings: [String] {
    guard need > .parameters, ranks.contains(where: { $0.optimizer == nil }) else { return [] }
    let dtype = run.layout.dtype
    return [
      "\(files.path): no optimizer state was saved: "
        + (dtype == .float32 ? "" : "the weights are the run's \(dtype) parameters, not fp32 masters, and ")
        + "the optimizer starts anew."
    ]
  }

  private var versionWarnings: [String] {
    guard run.deepSpeedVersion == nil, let version = run.options.deepSpeedVersion else { return [] }
    return [
      "\(files.path): saved by DeepSpeed \(version), which zerofs doesn't know: it is read as those of \(DeepSpeedVersion.newest) are."
    ]
  }

  /// Saves behind the one that is served, which `latest` doesn't name: one that was killed, or isn't finished.
  private var stepWarnings: [String] {
    guard TrainedFiles.holds("\(files.root)/\(CheckpointNames.latest)") else { return [] }
    let newer: [(step: Int, tag: String)]
    do { newer = try TrainedFiles.steps(of: files.root).filter { $0.step > run.step } } catch {
      return ["\(error)"]
    }
    guard let last = newer.last else { return [] }
    return [
      "\(files.root): \(last.tag) is there, too, but `latest` names \(tag), which is served: a save behind it was not finished, "
        + "or is being written. Give --tag to take another."
    ]
  }

  /// Every parameter that the geometry implies is in its rank's files, with its shape, and no other.
  private func check() throws(TrainedError) {
    guard let geometry else { return }
    for (tp, pp) in run.layout.modelParallelRanks {
      let number = run.layout.modelParallelRank(tp: tp, pp: pp)
      let path = "\(files.path): mp_rank \(number)"
      var others = ranks[number].names
      for module in geometry.modules(of: pp) {
        for entry in geometry.table.entries(of: module) {
          others.remove(geometry.qualifiedName(module, entry.name))
        }
        // The last stage has a tied embedding's master only.
        let isCopy = module == .embedding && pp > 0
        for entry in geometry.table.entries(of: module) where !isCopy {
          let (name, shape) = (
            geometry.qualifiedName(module, entry.name), entry.sharding.shape(geometry.parallelism)
          )
          // At stage 3 masters alone are there.
          let isThere = run.layout.zeroStage == 3 || ranks[number].holds(name)
          guard isThere, let found = ranks[number].value(of: name, .parameter)?.shape else {
            throw .unreadable(path: path, why: "there is no parameter \(name), which the run's args imply")
          }
          if found != shape {
            throw .disagree(path: path, what: "the shape of \(name)", has: "\(found)", needs: "\(shape)")
          }
          let master = need > .parameters ? ranks[number].value(of: name, .master)?.shape : shape
          if master != shape {
            throw .disagree(
              path: path, what: "the shape of the master of \(name)", has: "\(master ?? [])",
              needs: "\(shape)")
          }
        }
      }
      if let name = others.min() {
        throw .unsupported(
          path: path, what: name,
          why: "the run's args don't imply this parameter, so that no rule says what it is.")
      }
    }
  }
}
