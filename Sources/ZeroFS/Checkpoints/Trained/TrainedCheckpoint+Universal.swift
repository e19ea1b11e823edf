import Bytes
import Torch

extension TrainedCheckpoint {
  /// A universal checkpoint, read as one rank that holds every parameter whole (DeepSpeed `checkpoint/ds_to_universal.py`): the
  /// inverse of `UniversalCheckpoint`.
  static func universal(
    _ files: TrainedFiles, _ first: (value: PickleValue, file: SourceFile), _ run: TrainedRun,
    _ model: RunModel?,
    need: Need
  ) throws -> (MegatronGeometry?, [TrainedRank], [SourceFile]) {
    guard let model else {
      throw TrainedError.unsupported(
        path: first.file.path, what: "a universal checkpoint",
        why: "only Megatron-DeepSpeed's are served, whose model states hold args.")
    }
    let layout = try ParallelLayout(
      zeroStage: min(run.layout.zeroStage, 1), dtype: run.layout.dtype, engine: run.layout.engine)
    let vocabulary = run.vocabularySize > 0 ? run.vocabularySize : model.paddedVocabulary
    let geometry = try MegatronGeometry(
      try model.table(vocabularySize: vocabulary, flavor: run.flavor ?? .alcf), layout: layout,
      vocabulary: PaddedVocabulary(unpadded: vocabulary), isTied: model.isTied)
    let parameters = geometry.parameters(tp: 0, pp: 0)
    let names = ["fp32"] + (try need == .optimizer ? states(of: parameters[0].name, files) : [])
    let jobs = parameters.flatMap { parameter in names.map { (parameter: parameter, state: $0) } }
    let read = try Workers.run(16, jobs) { job in
      try tensor(job.state, of: job.parameter, files)
    }
    func tensors(_ index: Int) -> [TensorExpression] {
      parameters.indices.map { read[$0 * names.count + index].tensor.flattened() }
    }
    let members =
      try step(of: parameters[0].name, files).map { [OptimizerPart.Member(name: "step", kind: .step($0))] }
      ?? []
    let part = OptimizerPart(
      form: .parameters, masters: tensors(0),
      members: members
        + names.indices.dropFirst().map { .init(name: names[$0], kind: .elementwise(tensors($0))) },
      groups: files.holds("zero/optimizer_state")
        ? try files.read("zero/optimizer_state").value["param_groups"]?.elements ?? [] : [])
    let rank = try TrainedRank(
      modelState: first.value, parameters: [:], dtype: layout.dtype, groups: [parameters],
      parts: [(first.file.path, part)])
    return (geometry, [rank], [first.file] + read.map(\.file))
  }

  private static func states(of parameter: String, _ files: TrainedFiles) throws(TrainedError) -> [String] {
    try TrainedFiles.names(in: "\(files.path)/zero/\(parameter)").compactMap { name in
      guard name.hasSuffix(".pt"), name != "fp32.pt", name != "step.pt" else { return nil }
      return String(name.dropLast(3))
    }
  }

  private static func tensor(
    _ state: String, of parameter: (name: String, shape: [Int]), _ files: TrainedFiles
  ) throws(TrainedError) -> (tensor: TensorExpression, file: SourceFile) {
    let (value, file) = try files.read("zero/\(parameter.name)/\(state)")
    guard let tensor = value["param"]?.tensor else {
      throw .unreadable(path: file.path, why: "it has no tensor param")
    }
    // Vocabularies may have their padding still.
    guard tensor.shape.dropFirst() == parameter.shape.dropFirst(),
      tensor.shape.first ?? 0 >= parameter.shape.first ?? 0
    else {
      throw .disagree(
        path: file.path, what: "the shape", has: "\(tensor.shape)", needs: "\(parameter.shape)")
    }
    return (tensor.rows(0..<parameter.shape[0]), file)
  }

  private static func step(of parameter: String, _ files: TrainedFiles) throws(TrainedError) -> Int? {
    guard files.holds("zero/\(parameter)/step") else { return nil }
    let (value, file) = try files.read("zero/\(parameter)/step")
    return try OptimizerPart.step(value, path: file.path)
  }
}
