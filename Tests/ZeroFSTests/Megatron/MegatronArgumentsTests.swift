import Testing

@testable import Bytes
@testable import Run

struct MegatronArgumentsTests {
  /// The command line of the golden tree llama-pipe-tp2pp2dp2-z1-bf16 (oracle/mds_run.py: mds_argv).
  static let golden = """
    --tensor-model-parallel-size 2 --pipeline-model-parallel-size 2 --lr-warmup-iters 10 --weight-decay 0.1 \
    --clip-grad 1 --num-layers 4 --hidden-size 64 --num-attention-heads 8 --ffn-hidden-size 176 \
    --num-key-value-heads 4 --attention-dropout 0 --hidden-dropout 0 --no-query-key-layer-scaling \
    --normalization rmsnorm --layernorm-epsilon 1e-05 --use-rotary-position-embeddings --swiglu \
    --seq-length 32 --max-position-embeddings 256 --micro-batch-size 2 --global-batch-size 4 \
    --train-iters 100 --lr 1e-4 --lr-decay-iters 100 --lr-decay-style cosine --log-interval 1 --eval-iters 1 \
    --eval-interval 100 --save-interval 100 --split 100,0,0 --zero-stage 1 --tokenizer-type NullTokenizer \
    --vocab-size 258 --make-vocab-size-divisible-by 128 --deepspeed_config /tmp/ds.json --deepspeed \
    --distributed-backend gloo --num-workers 0 --no-masked-softmax-fusion --no-bias-gelu-fusion \
    --no-bias-dropout-fusion --no-gradient-accumulation-fusion --seed 1234 --init-method-std 0.02 \
    --rotary-position-embeddings-theta 10000 --disable-bias-linear --untie-embeddings-and-output-weights \
    --bf16 --save trees/x
    """
  static let run = MegatronRun(rank: 5, worldSize: 8, localRank: 5, paddedVocabSize: 512)

  private func completed(_ commandLine: String, worldSize: Int = 8) throws -> MegatronArguments {
    var run = MegatronArgumentsTests.run
    run.worldSize = worldSize
    return try MegatronArguments(commandLine: commandLine).completed(for: run)
  }

  @Test func theFirstOfManyOpenWordsAreNamed() {
    let open = (1...20).map { MegatronArgumentError.Open(flag: "--x", written: "$A", line: $0) }
    let message = MegatronArgumentError.unresolved(open).description
    #expect(message.contains("--x has $A (line 8) and 12 more. Set") && !message.contains("line 9"))
  }

  @Test func defaults() {
    let args = MegatronArguments()
    #expect(args.names.count == 350)
    #expect(args.names.first == "num_layers" && args.names.last == "deepscale_config")
    #expect(args["seed"] == .int(1234))
    #expect(args["split"] == .string("969, 30, 1"))
    #expect(args["num_experts"] == .list([.int(1)]))
    #expect(args["no_save_rng"] == ArgumentValue.none)
    #expect(args["add_bias_linear"] == .bool(true))
    #expect(args["kd_alpha_ce"] == .int(1))
    #expect(args["nonsense"] == nil)
  }

  @Test func goldenNamespace() throws {
    let args = try completed(Self.golden)
    #expect(args.unknown.isEmpty)
    #expect(args.names.count == 367)
    #expect(
      args.names.suffix(8) == [
        "use_flash_attn", "padded_vocab_size", "deepspeed_config_dict", "model_type", "attn_mask",
        "rotary_pos_emb", "allow_transformer_engine", "iteration",
      ])
    let expected: [(String, ArgumentValue)] = [
      ("encoder_num_layers", .int(4)), ("kv_channels", .int(8)), ("add_position_embedding", .bool(false)),
      ("start_weight_decay", .float(0.1)), ("end_weight_decay", .float(0.1)), ("clip_grad", .float(1)),
      ("rope_theta", .int(10000)), ("dataloader_type", .string("single")), ("encoder_seq_length", .int(32)),
      ("params_dtype", .dtype(.bfloat16)), ("accumulate_allreduce_grads_in_fp32", .bool(true)),
      ("async_tensor_model_parallel_allreduce", .bool(false)), ("masked_softmax_fusion", .bool(false)),
      ("deepspeed_config", .none), ("deepspeed_config_dict", .object), ("data_parallel_size", .int(2)),
      ("rank", .int(5)), ("world_size", .int(8)), ("allow_transformer_engine", .bool(false)),
    ]
    for (name, value) in expected { #expect(args[name] == value, "\(name)") }
    #expect(try completed(Self.golden + " --no-pipeline-parallel").names.count == 365)
  }

  @Test func goldenSchedule() throws {
    let schedule = try LearningRateSchedule(completed(Self.golden))
    #expect(
      schedule.entries.map(\.key) == [
        "max_lr", "lr_warmup_steps", "lr_warmup_tokens", "num_steps", "num_tokens", "lr_decay_style",
        "lr_decay_steps", "lr_decay_tokens", "min_lr", "start_wd", "end_wd", "wd_incr_style", "wd_incr_steps",
      ])
    #expect(schedule["max_lr"] == .float(1e-4))
    #expect(schedule["lr_warmup_steps"] == .int(40))
    #expect(schedule["lr_decay_steps"] == .int(400))
    #expect(schedule["lr_decay_tokens"] == ArgumentValue.none)
    #expect(schedule["start_wd"] == .float(0.1))
    #expect(schedule["wd_incr_style"] == .string("constant"))
  }

  @Test func schedulesOfOtherKinds() throws {
    let samples = try completed("--lr 1 --train-samples 1000 --lr-warmup-samples 10 --micro-batch-size 2")
    #expect(samples["train_iters"] == .int(62))
    #expect(samples["lr_decay_samples"] == .int(1000))
    #expect(try LearningRateSchedule(samples)["lr_warmup_steps"] == .int(10))
    let fraction = try completed("--lr 1 --train-iters 10 --lr-warmup-fraction 0.01 --micro-batch-size 2")
    #expect(try LearningRateSchedule(fraction)["lr_warmup_steps"] == .float(1.6))
    let ramp = try completed(
      "--lr 1 --train-samples 1000 --micro-batch-size 1 --global-batch-size 16 --rampup-batch-size 2 2 100")
    #expect(ramp["train_iters"] == .int(75))
  }

  @Test func derivations() throws {
    let args = try completed(
      "--hidden-size 4096 --num-attention-heads 32 --swiglu --fp16 --recompute-activations "
        + "--sequence-parallel"
    )
    #expect(args["ffn_hidden_size"] == .int(10880))
    #expect(args["kv_channels"] == .int(128))
    #expect(args["num_key_value_heads"] == .int(32))
    #expect(args["params_dtype"] == .dtype(.float16))
    #expect(args["recompute_granularity"] == .string("selective"))
    #expect(args["sequence_parallel"] == .bool(false))
    #expect(args["recompute_activations"] == nil && args["batch_size"] == nil)
    #expect(args["tokenizer_type"] == .string("GPT2BPETokenizer"))
  }

  /// The same arguments as a command line, scripts and a log.
  static let texts = [
    "--lr 1e-3 --data-path 0.5 'a b' --seed=7 --use-flash-attn --local_rank 3",
    #"""
    python pretrain_gpt.py \
      --lr 1e-3 \
     --data-path 0.5 a\ b --seed 7 --use-flash-attn-v1 --local-rank=3
    """#,
    #"""
    #!/bin/sh
    LR=1e-3 # rate
    ARGS=" \
      --lr ${LR} --seed $((3 * 2 + 1))"
    ARGS+=' --use-flash-attn --local-rank 3'
    cat <<EOF > ds.json
    { --lr 9 }
    EOF
    deepspeed --num_gpus 8 pretrain_gpt.py $ARGS --data-path 0.5 "a b" 2>&1 | tee log
    """#,
    #"""
    SEED=${UNSET:-7}
    opts=( --lr 1e-3 --data-path 0.5  # the first
      'a b' )
    opts+=(--seed "$SEED" --use-flash-attn --local_rank 3)
    mpiexec python3 p.py "${opts[@]}" && echo --lr 5 > log
    """#,
    #"""
    --lr 1e-3
    --data-path 0.5 "a b"
    --seed 7
    --use-flash-attn
    --local-rank 3
    """#,
    """
    it's [rank0]: ------------ arguments ------------
    it's [rank0]:   lr .............................................. 0.001
      seed ........................ 7
    x1:   data_path .................. ['0.5', 'a b']
      local_rank ...... 3
      use_flash_attn_v1 ..... True
      save ...... None
    -------- end of arguments --------
    """,
  ]

  @Test(arguments: texts)
  func spellings(text: String) throws {
    let args = try MegatronArguments(commandLine: text)
    #expect(args["lr"] == .float(1e-3))
    #expect(args["seed"] == .int(7))
    #expect(args["data_path"] == .list([.string("0.5"), .string("a b")]))
    #expect(args["use_flash_attn_v1"] == .bool(true))
    #expect(args["local_rank"] == .int(3))
  }

  /// Whatever the text: arguments or an error, no trap.
  @Test(arguments: [UInt64(1), 2, 3])
  func anyText(seed: UInt64) {
    var state = seed
    func random(_ count: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % count
    }
    let pieces = [
      "--lr", "--hidden-size ", "9223372036854775807", "--micro-batch-size -4611686018427387904 ", "=", " ",
      "\n", "'",
      "\"", "$", "${", "}", "$((", "))", "(", ")", "A", "A=", "A+=", "A=(", "`", "\\", "<<", "<", ">", "2>&1",
      "#",
      "  lr ........ ", "[1, 'x", "]", ":-", "[@]", "é", "\u{0}", "--swiglu ",
      "--rampup-batch-size 1 1 99999999999 ",
      "--train-samples 7 ", "--ds-sequence-parallel-size 4611686018427387904 ", "1", "-",
    ]
    for _ in 0..<500 {
      let text = (0..<random(30)).map { _ in pieces[random(pieces.count)] }.joined()
      do { _ = try LearningRateSchedule(completed(text)) } catch {}
    }
    let nested = String(repeating: "${A:-", count: 2000) + "$((" + String(repeating: "(", count: 2000)
    _ = try? MegatronArguments(
      commandLine: nested + "\n  num_experts ....... " + String(repeating: "[", count: 5000))
    _ = try? MegatronArguments(commandLine: "echo $((" + String(repeating: "-(", count: 100_000))
  }

  @Test func logOfLists() throws {
    let args = try MegatronArguments(
      commandLine:
        "--- arguments ---\n  num_experts ........ [1, 2]\n  zero_stage ........ 1.0\n"
        + "  wandb_project ........ \n  lr ........ None\n--- end of arguments ---"
    )
    #expect(args["num_experts"] == .list([.int(1), .int(2)]))
    #expect(args["zero_stage"] == .float(1))
    #expect(args["wandb_project"] == .string(""))
    #expect(args["lr"] == ArgumentValue.none)
  }

  @Test func unknownFlags() throws {
    let args = try MegatronArguments(commandLine: "--lr 1 --micro_batch_size 3 --wat=1")
    #expect(args.unknown == ["--micro_batch_size", "--wat"])
    #expect(args.given == ["lr"])
  }

  @Test(
    arguments: [
      ("--num-layers 3.5", .malformed(flag: "--num-layers", value: "3.5", expected: "an integer")),
      ("--lr 0x1p3", .malformed(flag: "--lr", value: "0x1p3", expected: "a number")),
      (
        "--lr-decay-style=flat --lr 1",
        .malformed(
          flag: "--lr-decay-style", value: "flat",
          expected:
            "one of constant, linear, cosine, inverse-square-root, infinite-cosine, infinite-inv-square-root")
      ),
      ("--bf16=1", .malformed(flag: "--bf16", value: "1", expected: "no value")),
      ("--lr --bf16", .missingValue(flag: "--lr", expected: "a number")),
      (
        "LR=$BASE; run --lr ${LR} \\\n $EXTRA",
        .unresolved([
          .init(flag: "--lr", written: "$BASE", line: 1), .init(flag: "a word", written: "$EXTRA", line: 2),
        ])
      ),
      ("--batch-size 4", .removed(flag: "--batch-size", instead: "--micro-batch-size")),
      (
        "--- arguments ---\n  lr ....... fast\n--- end of arguments ---",
        .malformed(flag: "lr", value: "fast", expected: "a number")
      ),
    ] as [(String, MegatronArgumentError)])
  func errors(text: String, error: MegatronArgumentError) {
    #expect(throws: error) { try MegatronArguments(commandLine: text) }
    #expect(error.exitStatus == .run)
  }

  @Test func unresolvedTextsCanBeKept() throws {
    let args = try MegatronArguments(commandLine: "--save $BASE/x --lr 1")
    #expect(args["save"] == .string("$BASE/x"))
    #expect(args.unresolved == ["--save"])
  }

  @Test(
    arguments: [
      ("", .required(flags: ["--lr"])),
      ("--lr 1", .required(flags: ["--train-iters", "--train-samples"])),
      ("--lr 1 --train-iters 5", .required(flags: ["--micro-batch-size"])),
      ("--lr 1 --min-lr 2", .conflict("--min-lr must lie between 0 and --lr")),
      (
        "--lr 1 --train-iters 5 --train-samples 5",
        .conflict("only one of --train-iters and --train-samples can be given")
      ),
      ("--fp16 --bf16", .conflict("only one of --fp16 and --bf16 can be given")),
      (
        "--lr 1 --train-iters 5 --micro-batch-size 1 --lr-warmup-iters 5",
        .conflict(
          "the learning rate's warmup (--lr-warmup-iters, --lr-warmup-fraction) must be shorter than its "
            + "decay"
        )
      ),
      (
        "--lr 1 --train-iters 5 --micro-batch-size 1 --weight-decay-incr-style linear",
        .required(flags: ["--start-weight-decay and --end-weight-decay"])
      ),
    ] as [(String, MegatronArgumentError)])
  func refusedRuns(text: String, error: MegatronArgumentError) {
    #expect(throws: error) { try LearningRateSchedule(completed(text)) }
  }
}
