import Foundation
import Testing

@testable import Bytes
@testable import Checkpoints
@testable import HuggingFace

private func floats(_ tensor: TensorExpression) throws -> [Float] {
  try tensor.bytes().withUnsafeBytes { Array($0.assumingMemoryBound(to: Float.self)) }
}

@Suite struct ModelFamilyTests {
  /// Those of MDS alone; the others are `ExtensionTests`'.
  static let types = ModelFamily.all.flatMap(\.modelTypes).filter {
    ![
      "qwen3", "gemma", "gemma2", "gemma3_text", "olmo2", "olmo3", "exaone4", "glm4", "smollm3", "phi",
      "gptj",
      "falcon", "cohere", "cohere2", "opt",
    ].contains($0)
  }

  /// Row by row, without the program's operations on tensors (MDS `tools/hf2megads_weight_converter.py`: `refactor`).
  @Test(arguments: types, [1, 2])
  func aModelIsWhatMegatronHas(type: String, size: Int) throws {
    for biased in [false, true] {
      let model = try TinyModel(type, biased: biased)
      let plan = try model.plan(tp: size)
      let reference = SlowReference(model: model, plan: plan, size: size)
      for module in plan.geometry.allModules {
        for tp in 0..<size {
          for parameter in plan.parameters(of: module, tp: tp) {
            let wanted = reference.parameter(parameter.name, of: module, tp: tp)
            // Not in the macro, which would print all numbers.
            let isEqual = try floats(parameter.tensor) == wanted
            #expect(isEqual, "\(type): \(parameter.name) of \(module), rank \(tp)")
          }
        }
      }
    }
  }

  @Test func theVocabularyIsPadded() throws {
    let model = try TinyModel("llama")
    let plan = try model.plan(tp: 2, divisor: 7)
    let all = try (0..<2).flatMap { try floats(plan.parameters(of: .embedding, tp: $0)[0].tensor) }
    let real = model.rows("model.embed_tokens.weight").flatMap { $0 }
    #expect(
      all == real + [Float](repeating: 0, count: (14 - TinyModel.sizes.vocabulary) * TinyModel.sizes.hidden))
  }

  @Test(arguments: [PaddedVocabulary.Filling.zero, .mean])
  func theVocabularyGrows(filling: PaddedVocabulary.Filling) throws {
    let model = try TinyModel("llama")
    let s = TinyModel.sizes
    let plan = try MegatronModel(
      model.model, layout: try ParallelLayout(tp: 2, dtype: .float32), tokens: s.vocabulary + 3,
      vocabularyDivisor: 8, vocabularyFilling: filling)
    #expect(plan.vocabulary.padded == 16)
    for (module, name) in [
      (MegatronModule.embedding, "model.embed_tokens.weight"), (.outputLayer, "lm_head.weight"),
    ] {
      let all = try (0..<2).flatMap { try floats(plan.parameters(of: module, tp: $0)[0].tensor) }
      let rows = model.rows(name)
      let mean = (0..<s.hidden).map { column in
        filling == .zero ? 0 : rows.map { $0[column] }.reduce(0, +) / Float(s.vocabulary)
      }
      #expect(all == rows.flatMap { $0 } + (0..<6).flatMap { _ in mean })
    }
    let back = HuggingFaceTensors(plan.geometry)
    #expect(back.shape(of: "lm_head.weight") == [s.vocabulary + 3, s.hidden])
    #expect(plan.vocabulary.warnings(tp: 2)[0].contains("rows \(s.vocabulary) to \(s.vocabulary + 2)"))
  }

  /// The way back is the inverse, and the parts of the ranks tile each parameter once.
  @Test(arguments: types, [(1, 2), (2, 3)])
  func thereAndBack(type: String, layout: (tp: Int, pp: Int)) throws {
    let model = try TinyModel(type, biased: true)
    let plan = try model.plan(tp: layout.tp, pp: layout.pp)
    let back = HuggingFaceTensors(plan.geometry)
    #expect(back.names == model.shapes.keys.sorted())
    for name in back.names {
      #expect(back.shape(of: name) == model.shapes[name])
      let tensor = back.tensor(name) { module, entry, tp in
        plan.parameters(of: module, tp: tp).first { $0.name == entry }!.tensor
      }
      let (values, wanted) = (try floats(tensor), model.rows(name).flatMap { $0 })
      let rounding = back.rounding(of: name)
      let isClose = zip(values, wanted).allSatisfy { value, wanted in
        Double(abs(value - wanted)) <= rounding.relative * Double(abs(wanted)) + rounding.absolute
      }
      #expect(values.count == wanted.count && isClose, "\(type): \(name)")
      #expect(
        rounding.isExact || ["granite", "minicpm", "nemotron", "gpt_neo"].contains(type), "\(type): \(name)")
    }
    try expectTiles(plan, tp: layout.tp)
  }

  private func expectTiles(_ plan: MegatronModel, tp size: Int) throws {
    for module in plan.geometry.allModules {
      for entry in plan.table.entries(of: module) {
        let elements = entry.sharding.shape(plan.geometry.parallelism).reduce(1, *)
        for tp in 0..<size {
          let covered = entry.sharding.blocks(plan.geometry.parallelism, tp: tp).reduce(0) {
            $0 + $1.part.rows.count * $1.part.columns.count
          }
          let isPadded = if case .vocabulary = entry.sharding { true } else { false }
          #expect(covered == elements || isPadded, "\(entry.name)")
        }
      }
    }
  }

  @Test func whatHasNoPlaceInTransformersIsNamed() throws {
    let qwen = HuggingFaceTensors(try TinyModel("qwen2").plan(tp: 1).geometry)
    #expect(
      Set(qwen.withoutTensor.map(\.name)) == [
        "self_attention.dense.bias", "mlp.dense_h_to_4h.bias", "mlp.dense_4h_to_h.bias",
      ])
    #expect(HuggingFaceTensors(try TinyModel("llama").plan(tp: 1).geometry).withoutTensor.isEmpty)
  }

  /// Phi-4-mini: what cos and sin are multiplied with is in the rotated rows of queries and keys, and comes out again.
  @Test func theAttentionFactorIsFolded() throws {
    let model = try TinyModel(
      "phi3",
      members: [
        "original_max_position_embeddings": 4, "partial_rotary_factor": 0.5,
        "rope_scaling": ["type": "longrope", "short_factor": [1, 1], "long_factor": [2, 3]] as [String: Any],
      ])
    let plan = try model.plan(tp: 1)
    let factor = Float((1 + Foundation.log(16.0 / 4) / Foundation.log(4.0)).squareRoot())
    let stored = model.rows("model.layers.0.self_attn.qkv_proj.weight")
    let all = try floats(plan.parameters(of: .layer(0), tp: 0)[1].tensor)
    // The first group: two heads of queries, a key, a value.
    let (s, h) = (TinyModel.sizes, TinyModel.sizes.hidden)
    func row(_ index: Int) -> [Float] { Array(all[(index * h)..<((index + 1) * h)]) }
    #expect(row(0) == stored[0].map { $0 * factor } && row(3) == stored[3].map { $0 * factor })
    #expect(row(4) == stored[4] && row(7) == stored[7])
    let key = s.heads * s.headDim
    #expect(row(2 * s.headDim) == stored[key].map { $0 * factor })
    #expect(row(3 * s.headDim) == stored[key + s.keyValueHeads * s.headDim], "values aren't rotated")
    #expect(plan.table.architecture.sequenceLimits.map(\.tokens) == [4])
    let back = HuggingFaceTensors(plan.geometry)
    let name = "model.layers.0.self_attn.qkv_proj.weight"
    let tensor = back.tensor(name) { module, entry, tp in
      plan.parameters(of: module, tp: tp).first { $0.name == entry }!.tensor
    }
    #expect(!back.rounding(of: name).isExact)
    for (value, wanted) in zip(try floats(tensor), stored.flatMap({ $0 })) {
      #expect(Double(abs(value - wanted)) <= back.rounding(of: name).relative * Double(wanted))
    }
  }

  /// config.json ties them; the files hold both.
  @Test(arguments: [true, false]) func aStoredHeadIsCompared(isSame: Bool) throws {
    let model = try TinyModel(
      "llama", members: ["tie_word_embeddings": true],
      copying: isSame ? ["lm_head.weight": "model.embed_tokens.weight"] : [:],
      extra: ["lm_head.weight": [TinyModel.sizes.vocabulary, TinyModel.sizes.hidden]])
    let plan = try model.plan(tp: 1)
    #expect(plan.isTied == isSame)
    #expect(try ParameterOrder(of: model.model).tied.isEmpty == !isSame)
  }

  @Test func aTiedModelCanBeServedUntied() throws {
    let model = try TinyModel("llama", members: ["tie_word_embeddings": true])
    let plan = try MegatronModel(model.model, layout: try ParallelLayout(dtype: .float32), untie: true)
    let (embedding, head) = (
      plan.parameters(of: .embedding, tp: 0)[0], plan.parameters(of: .outputLayer, tp: 0)[0]
    )
    #expect(try floats(embedding.tensor) == floats(head.tensor))
    #expect(HuggingFaceTensors(plan.geometry).names.contains("lm_head.weight"))
  }

  @Test func sequencesThatFit() throws {
    let model = try TinyModel("mistral", members: ["sliding_window": 8])
    func architecture(_ length: Int?) throws -> Architecture {
      try ParameterTable(of: model.model, sequenceLength: length).architecture
    }
    let (short, unknown, long) = (try architecture(8), try architecture(nil), try architecture(9))
    #expect(short.extensionNeed == .never && short.spec.isEmpty && short.sequenceLimits.isEmpty)
    #expect(unknown.extensionNeed == .beyondLimits && unknown.sequenceLimits.map(\.tokens) == [8])
    #expect(long.extensionNeed == .always && long.spec.window == .init(size: 8, layers: nil))
  }

  @Test func sizesThatTPMustDivide() throws {
    let model = try TinyModel("llama")
    #expect(
      throws: LayoutError.tensorParallel(tp: 4, what: "key-value heads", count: 2, allowed: [1, 2])
    ) { try model.plan(tp: 4) }
    #expect(throws: LayoutError.pipelineParallel(pp: 4, layers: 3)) { try model.plan(tp: 1, pp: 4) }
  }

  @Test func aTensorWithoutAPlaceIsRefused() throws {
    let model = try TinyModel("llama", extra: ["model.layers.1.self_attn.extra.weight": [3]])
    #expect(throws: SourceError.self) { try model.plan(tp: 1) }
  }

  @Test func unknownFamilies() throws {
    let model = try TinyModel("llama", modelType: "tomorrow")
    #expect(throws: ModelError.unknownModelType("tomorrow", path: "\(model.directory.path)/config.json")) {
      try model.plan(tp: 1)
    }
  }
}
