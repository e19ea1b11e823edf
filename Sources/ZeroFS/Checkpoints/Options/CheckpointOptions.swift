import Bytes
import Run

/// Everything that decides what a checkpoint holds, beside the model: the options of the command line as values. What is `nil` is
/// what the run's own description says, or a default.
///
/// `OptionField.all` has a field for each: flags in messages, words of layout names, what manifests record, and how one set of
/// options overrides another all follow from that table.
package struct CheckpointOptions: Codable, Sendable, Equatable {
  /// Who saves the checkpoint.
  package enum Flavor: String, Codable, Sendable, CaseIterable {
    /// Forks of Megatron-DeepSpeed.
    case alcf, upstream
    case upstreamFPDT = "upstream-fpdt"
    /// A script that gives DeepSpeed a model of transformers, and HF Trainer.
    case hf, trainer

    /// The fork of Megatron-DeepSpeed; `nil` for who trains a model of transformers.
    var megatron: MegatronFlavor? { MegatronFlavor(rawValue: rawValue) }
  }

  /// What parameters are trained in.
  package enum Precision: String, Codable, Sendable, CaseIterable {
    case bf16, fp16, fp32

    package var dtype: DType {
      switch self {
      case .bf16: .bfloat16
      case .fp16: .float16
      case .fp32: .float32
      }
    }
  }

  /// What the optimizer's state holds of Adam's moments.
  package enum Moments: String, Codable, Sendable, CaseIterable {
    /// Nothing, as DeepSpeed saves it before the first step.
    case none
    /// Zeros at step 0, from which training goes the same way.
    case zeros
  }

  /// What a checkpoint is served as, instead of a checkpoint.
  package enum View: String, Codable, Sendable, CaseIterable {
    /// A Hugging Face directory.
    case hf
  }

  package var view: View?
  /// Of a checkpoint: the directory whose model it is of.
  package var like: String?
  package var weights: HuggingFaceExport.Weights?
  package var drop: Bool?
  package var tag: String?
  package var newStage: Bool?
  package var flavor: Flavor?
  package var parameterOrder: NamedText?
  package var tp: Int?
  package var pp: Int?
  package var dp: Int?
  package var sp: Int?
  package var zeroStage: Int?
  package var dtype: Precision?
  package var noPipelineParallel: Bool?
  package var makeVocabSizeDivisibleBy: Int?
  package var vocabPadding: PaddedVocabulary.Filling?
  /// The number of tokens of the run's tokenizer.
  package var tokens: Int?
  package var untieEmbeddingsAndOutputWeights: Bool?
  package var iteration: Int?
  package var trainArguments: NamedText?
  package var deepSpeedConfiguration: NamedText?
  package var deepSpeedVersion: String?
  package var seed: Int?
  package var device: AcceleratorKind?
  package var optimizer: String?
  package var fusedAdam: Bool?
  package var moments: Moments?
  package var masters: Parameter.Masters?
  package var gradAccumDtype: Precision?
  package var subGroupSize: Int?
  package var universalCheckpoint: Bool?
  package var extensionUse: ExtensionUse?

  package init() {}

  /// These options, and where one isn't given that of `others`.
  package func over(_ others: CheckpointOptions) -> CheckpointOptions {
    var options = others
    for field in OptionField.all { field.copy(self, &options) }
    return options
  }

  // MARK: - Records

  /// Typed members, by the names of their flags; older records are the words of a command line. Members of neither kind are an
  /// error: a record is data.
  package init(from decoder: any Decoder) throws {
    self.init()
    if let words = try? decoder.singleValueContainer().decode([String].self) {
      var rest = words[...]
      while let flag = rest.popFirst() {
        guard let field = OptionField.all.first(where: { $0.flag == flag }) else {
          throw OptionField.unknown(flag, decoder)
        }
        let value = field.takesValue ? rest.popFirst() : nil
        guard field.parse(value, &self) else { throw OptionField.unknown("\(flag) \(value ?? "")", decoder) }
      }
      return
    }
    let members = try decoder.container(keyedBy: OptionField.Key.self)
    for key in members.allKeys {
      guard let field = OptionField.all.first(where: { $0.key == key.stringValue }) else {
        throw OptionField.unknown(key.stringValue, decoder)
      }
      try field.decode(members, &self)
    }
  }

  package func encode(to encoder: any Encoder) throws {
    var members = encoder.container(keyedBy: OptionField.Key.self)
    for field in OptionField.all { try field.encode(self, &members) }
  }
}

/// A text that an option carries itself or that it names a file of. Records hold the text.
package struct NamedText: Codable, Sendable, Equatable {
  package let text: String
  /// The file, for messages; the option where it carries the text itself.
  package let name: String

  package init(_ text: String, name: String) { (self.text, self.name) = (text, name) }

  /// A JSON object, or what the file of that name holds.
  ///
  /// - Throws: `RunError.file` for a file that can't be read.
  package init(jsonOrFile value: String, option: String) throws(RunError) {
    do {
      self.init(String(decoding: try TextOrFile.contents(value), as: UTF8.self), name: value)
    } catch {
      throw .file(
        option: option, path: value, why: error.reason, instead: "a JSON object, or a file that holds one")
    }
  }

  package init(from decoder: any Decoder) throws {
    self.init(try decoder.singleValueContainer().decode(String.self), name: "the recorded options")
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(text)
  }

  package static func == (a: Self, b: Self) -> Bool { a.text == b.text }
}
