import Bytes
import HuggingFace

/// A layout in the name of a directory: words joined by `-`, in any order, each at most once.
///
/// | word | option of the command line |
/// |---|---|
/// | `tpN`, `ppN`, `dpN`, `spN` | `--tp N`, `--pp N`, `--dp N`, `--sp N` |
/// | `zeroN` | `--zero-stage N` |
/// | `bf16`, `fp16`, `fp32` | `--dtype` |
/// | `pipe`, `nopipe` | without, with `--no-pipeline-parallel` |
/// | `itN` | `--iteration N` |
/// | `divN` | `--make-vocab-size-divisible-by N` |
/// | `padzero`, `padmean` | `--vocab-padding` |
/// | `tied`, `untied` | without, with `--untie-embeddings-and-output-weights` |
/// | `universal`, `nouniversal` | with, without `--universal-checkpoint` |
///
/// N is decimal, without leading zeros. What isn't spelled is as on the command line. A word that is not in the table, or two
/// words for one option, and the name means no layout at all; whether a layout can be served is for the planner to say.
package struct LayoutName: Sendable, Hashable, CustomStringConvertible {
  package private(set) var tp: Int?
  package private(set) var pp: Int?
  package private(set) var dp: Int?
  package private(set) var sp: Int?
  package private(set) var zeroStage: Int?
  package private(set) var dtype: DType?
  package private(set) var engine: ParallelLayout.Engine?
  package private(set) var iteration: Int?
  package private(set) var vocabularyDivisor: Int?
  package private(set) var vocabularyFilling: PaddedVocabulary.Filling?
  package private(set) var isUntied: Bool?
  package private(set) var isUniversal: Bool?

  /// What `name` spells; `nil` if it isn't the name of a layout.
  package init?(_ name: String) {
    for word in name.split(separator: "-", omittingEmptySubsequences: false) {
      guard take(word) else { return nil }
    }
  }

  /// The name that spells everything: equal for equal layouts, however they were spelled.
  init(_ client: MegatronClient) {
    self.init(client.layout, iteration: client.step)
    let model = client.model
    (vocabularyDivisor, vocabularyFilling) = (model.vocabulary.divisor, model.vocabulary.filling)
    // The option exists for models with tied embeddings only.
    isUntied = model.configuration.tieWordEmbeddings ? !model.isTied : nil
    isUniversal = client.isUniversal
  }

  init(_ client: TransformersClient) { self.init(client.layout, iteration: client.step) }

  private init(_ layout: ParallelLayout, iteration: Int) {
    (tp, pp, dp, sp, zeroStage) = (layout.tp, layout.pp, layout.dp, layout.sp, layout.zeroStage)
    (dtype, engine) = (layout.dtype, layout.engine)
    self.iteration = iteration
  }

  /// Whether `word` is of the grammar, and the first for its option.
  private mutating func take(_ word: Substring) -> Bool {
    switch word {
    case "bf16": return Self.set(&dtype, .bfloat16)
    case "fp16": return Self.set(&dtype, .float16)
    case "fp32": return Self.set(&dtype, .float32)
    case "pipe": return Self.set(&engine, .pipeline)
    case "nopipe": return Self.set(&engine, .noPipeline)
    case "padzero": return Self.set(&vocabularyFilling, .zero)
    case "padmean": return Self.set(&vocabularyFilling, .mean)
    case "tied": return Self.set(&isUntied, false)
    case "untied": return Self.set(&isUntied, true)
    case "universal": return Self.set(&isUniversal, true)
    case "nouniversal": return Self.set(&isUniversal, false)
    default: break
    }
    let key = word.prefix { $0.isLetter }
    // Not "07", "+7" or "٧", which Int may take.
    guard let number = Int(word.dropFirst(key.count)), word == "\(key)\(number)" else { return false }
    switch key {
    case "tp": return Self.set(&tp, number)
    case "pp": return Self.set(&pp, number)
    case "dp": return Self.set(&dp, number)
    case "sp": return Self.set(&sp, number)
    case "zero": return Self.set(&zeroStage, number)
    case "it": return Self.set(&iteration, number)
    case "div": return Self.set(&vocabularyDivisor, number)
    default: return false
    }
  }

  private static func set<Value>(_ option: inout Value?, _ value: Value) -> Bool {
    guard option == nil else { return false }
    option = value
    return true
  }

  /// The words in the order of the table.
  package var description: String {
    let numbers = [("tp", tp), ("pp", pp), ("dp", dp), ("sp", sp), ("zero", zeroStage)]
    let late = [("it", iteration), ("div", vocabularyDivisor)]
    let words: [String?] =
      numbers.map(Self.word) + [dtype?.layoutWord, engine.map { $0 == .pipeline ? "pipe" : "nopipe" }]
      + late.map(Self.word)
      + [
        vocabularyFilling.map { "pad\($0.rawValue)" }, isUntied.map { $0 ? "untied" : "tied" },
        isUniversal.map { $0 ? "universal" : "nouniversal" },
      ]
    return words.compactMap { $0 }.joined(separator: "-")
  }

  private static func word(_ key: String, _ number: Int?) -> String? { number.map { "\(key)\($0)" } }
}

extension DType {
  /// As `--dtype` and the names of layouts say it.
  package var layoutWord: String? {
    switch self {
    case .bfloat16: "bf16"
    case .float16: "fp16"
    case .float32: "fp32"
    case .float64, .int64, .int32, .int16, .int8, .uint8, .bool: nil
    }
  }
}
