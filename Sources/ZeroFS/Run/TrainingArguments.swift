import Bytes

/// What of the arguments of HF Trainer shows in a checkpoint (transformers `training_args.py`: `TrainingArguments`), with their
/// defaults.
package struct TrainingArguments: Sendable {
  package private(set) var learningRate = 5e-5
  package private(set) var weightDecay = 0.0
  package private(set) var adamBeta1 = 0.9
  package private(set) var adamBeta2 = 0.999
  package private(set) var adamEpsilon = 1e-8
  package private(set) var maxGradNorm = 1.0
  /// In steps, or below 1 as a part of all steps.
  package private(set) var warmup = 0.0
  package private(set) var perDeviceTrainBatchSize = 8
  package private(set) var loggingSteps = 500
  package private(set) var saveSteps = 500
  package private(set) var evalSteps: Int?
  package private(set) var schedule = Schedule.linear
  package private(set) var optimizer = Optimizer.fused
  /// How the text of the arguments was read, where the user should know.
  package private(set) var notes: [String] = []
  private var schedulerArguments: String?
  private var isBFloat16 = false
  private var isFloat16 = false

  /// `--lr_scheduler_type`: those whose rate before the first step is the whole one, or 0 where there is a warmup (transformers
  /// `optimization.py`: `get_scheduler`).
  package enum Schedule: String, CaseIterable {
    case linear, cosine, polynomial, constant
    case cosineWithRestarts = "cosine_with_restarts"
    case constantWithWarmup = "constant_with_warmup"
    case inverseSquareRoot = "inverse_sqrt"
    case cosineWithMinimum = "cosine_with_min_lr"
    case warmupStableDecay = "warmup_stable_decay"
  }

  /// `--optim`.
  package enum Optimizer: String, CaseIterable {
    case plain = "adamw_torch"
    case fused = "adamw_torch_fused"
  }

  package init() {}

  static let program = RunProgram(
    name: "HF Trainer", isFlag: { TrainingArguments.name(ofFlag: $0) != nil },
    training: [
      "--learning_rate", "--learning-rate", "--per_device_train_batch_size", "--per-device-train-batch-size",
    ])

  /// The command line of `init(textOrFile:)` with all that it depends on.
  ///
  /// - Throws: as `init(textOrFile:)`: a text that is recorded doesn't tell any more what of it was open.
  package static func recorded(textOrFile text: String) throws -> (text: String, notes: [String]) {
    let text = try RunText(textOrFile: text, program)
    _ = try TrainingArguments(text)
    return (text.recorded, text.notes)
  }

  /// Reads the command line of a run, or the file that holds one; flags of the script itself are skipped.
  ///
  /// - Throws: `RunError`; what `RunText` throws.
  package init(textOrFile: String) throws { try self.init(RunText(textOrFile: textOrFile, Self.program)) }

  /// Reads a command line; no file, no variables of the environment.
  package init(commandLine text: String) throws { try self.init(RunText(text, Self.program)) }

  private init(_ text: RunText) throws {
    notes = text.notes
    var rest = text.words[...]
    var open: [MegatronArgumentError.Open] = []
    while let word = rest.popFirst() {
      let flag = String(word.prefix { $0 != "=" })
      guard let name = TrainingArguments.name(ofFlag: flag) else {
        if word.hasPrefix("\0") || ShellUnknown.isManyWords(word) {
          open += MegatronArgumentError.open("a word", word)
        }
        continue
      }
      let value: String
      if word.count > flag.count {
        value = String(word.dropFirst(flag.count + 1))
      } else if TrainingArguments.switches.contains(name), rest.first?.hasPrefix("-") != false {
        value = "true"
      } else {
        value = rest.popFirst() ?? ""
      }
      guard !ShellUnknown.isIn(value) else {
        open += MegatronArgumentError.open(flag, value)
        continue
      }
      try set(name, value, flag: flag)
    }
    if !open.isEmpty { throw MegatronArgumentError.unresolved(open) }
    if schedule == .warmupStableDecay, warmup > 0, let schedulerArguments {
      throw RunError.trainingArgument(
        flag: "--lr_scheduler_kwargs", value: schedulerArguments,
        expected:
          "to be left out with a warmup of warmup_stable_decay: the first rate could be another than 0")
    }
  }

  /// HfArgumentParser takes both spellings.
  private static func name(ofFlag flag: String) -> String? {
    let name = String(flag.dropFirst(2).map { $0 == "-" ? "_" : $0 })
    return flag.hasPrefix("--") && names.contains(name) ? name : nil
  }

  /// Those that need no value.
  private static let switches: Set = ["bf16", "fp16"]

  private static let names: Set = [
    "learning_rate", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm",
    "warmup_steps", "warmup_ratio", "per_device_train_batch_size", "logging_steps", "save_steps",
    "eval_steps",
    "lr_scheduler_type", "lr_scheduler_kwargs", "optim", "bf16", "fp16",
  ]

  private mutating func set(_ name: String, _ text: String, flag: String) throws(RunError) {
    let value = FlagValue(flag: flag, text: text)
    switch name {
    case "learning_rate": learningRate = try value.number()
    case "weight_decay": weightDecay = try value.number()
    case "adam_beta1": adamBeta1 = try value.number()
    case "adam_beta2": adamBeta2 = try value.number()
    case "adam_epsilon": adamEpsilon = try value.number()
    case "max_grad_norm": maxGradNorm = try value.number()
    case "warmup_steps", "warmup_ratio": warmup = max(warmup, try value.number())
    case "per_device_train_batch_size": perDeviceTrainBatchSize = try value.count()
    case "logging_steps": loggingSteps = try value.count()
    case "save_steps": saveSteps = try value.count()
    case "eval_steps": evalSteps = try value.count()
    case "lr_scheduler_kwargs": schedulerArguments = text
    case "bf16": isBFloat16 = try value.truth()
    case "fp16": isFloat16 = try value.truth()
    case "lr_scheduler_type": schedule = try value.choice(Schedule.self)
    default: optimizer = try value.choice(Optimizer.self)
    }
  }

  /// What the run trains in, where its arguments say.
  package var dtype: DType? { isBFloat16 ? .bfloat16 : isFloat16 ? .float16 : nil }

  /// Whether the rate is 0 before the first step.
  package var warmsUp: Bool { warmup > 0 && schedule != .constant }
}

/// The text behind a flag of HF Trainer's, as what it has to be.
private struct FlagValue {
  let flag: String
  let text: String

  private func unexpected(_ expected: String) -> RunError {
    .trainingArgument(flag: flag, value: text, expected: expected)
  }

  func number() throws(RunError) -> Double {
    guard let number = Double(text), number.isFinite, number >= 0 else {
      throw unexpected("a number that isn't negative")
    }
    return number
  }

  func count() throws(RunError) -> Int {
    guard let count = Int(text), count > 0 else { throw unexpected("a whole number above 0") }
    return count
  }

  func truth() throws(RunError) -> Bool {
    switch text.lowercased() {
    case "true", "yes", "t", "y", "1": return true
    case "false", "no", "f", "n", "0": return false
    default: throw unexpected("true or false")
    }
  }

  func choice<Choice: RawRepresentable<String> & CaseIterable>(_: Choice.Type) throws(RunError) -> Choice {
    guard let choice = Choice(rawValue: text) else {
      let all = Choice.allCases.map(\.rawValue).joined(separator: ", ")
      throw unexpected("one of those that are served: \(all)")
    }
    return choice
  }
}
