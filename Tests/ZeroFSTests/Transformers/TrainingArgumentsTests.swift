import Testing

@testable import Checkpoints
@testable import Run

@Suite struct TrainingArgumentsTests {
  @Test func readsTheFlagsOfACommandLine() throws {
    let arguments = try TrainingArguments(
      commandLine: """
        RATE=3e-4
        torchrun --nproc_per_node 8 train.py --model_name_or_path x --learning-rate $RATE \\
          --weight_decay=0.1 --adam_beta2 0.95 --optim adamw_torch --lr_scheduler_type cosine --warmup_ratio 0.03
        """)
    #expect(arguments.learningRate == 3e-4)
    #expect(arguments.weightDecay == 0.1)
    #expect(arguments.adamBeta2 == 0.95)
    #expect(arguments.optimizer == .plain)
    #expect(arguments.schedule == .cosine)
    #expect(arguments.warmsUp)
    #expect(arguments.maxGradNorm == 1 && arguments.perDeviceTrainBatchSize == 8, "the defaults")
  }

  /// transformers `optimization.py`: `get_constant_schedule`.
  @Test func aConstantRateDoesNotWarmUp() throws {
    let arguments = try TrainingArguments(commandLine: "--warmup_steps 10 --lr_scheduler_type constant")
    #expect(!arguments.warmsUp)
  }

  @Test(arguments: [
    ("--learning_rate -1", "--learning_rate", "-1"), ("--optim", "--optim", "--x"),
    ("--eval_steps 0", "--eval_steps", "0"), ("--weight-decay=nan x", "--weight-decay", "nan"),
  ])
  func refusesValues(text: String, flag: String, value: String) throws {
    let error = try #require(throws: RunError.self) { try TrainingArguments(commandLine: text + " --x y") }
    guard case .trainingArgument(flag, value, _) = error else { return #expect(Bool(false), "\(error)") }
  }

  /// As transformers' own patterns say of these names.
  @Test func normsAndBiasesDoNotDecay() {
    let kept = [
      "model.norm.weight", "model.layers.0.input_layernorm.weight", "model.layers.0.self_attn.q_norm.weight",
      "transformer.h.0.attn.c_attn.bias", "x.RMSNorm.weight", "norm.weight",
    ]
    let decaying = [
      "model.embed_tokens.weight", "model.normal.weight", "model.norms.0.weight", "lm_head.weight",
    ]
    #expect(kept.allSatisfy(ParameterOrder.isWithoutWeightDecay))
    #expect(!decaying.contains(where: ParameterOrder.isWithoutWeightDecay))
  }
}
