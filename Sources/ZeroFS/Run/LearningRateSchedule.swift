/// The state of MDS's `OptimizerParamScheduler` at step 0: key `lr_scheduler` of the model states.
///
/// Source: megatron/training.py: get_optimizer_param_scheduler, megatron/optimizer_param_scheduler.py:
/// __init__, state_dict. A load asserts that these equal the command line's, unless told otherwise by
/// `--override-opt_param-scheduler`.
package struct LearningRateSchedule: Equatable, Sendable {
  /// The 13 entries in their order.
  package let entries: [(key: String, value: ArgumentValue)]

  package static func == (left: Self, right: Self) -> Bool {
    left.entries.elementsEqual(right.entries) { $0.key == $1.key && $0.value == $1.value }
  }

  package subscript(key: String) -> ArgumentValue? { entries.first { $0.key == key }?.value }

  /// - Parameter args: completed arguments (`MegatronArguments.completed(for:)`).
  /// - Throws: `required` or `conflict` where MDS refuses the arguments.
  package init(_ args: MegatronArguments) throws(MegatronArgumentError) {
    guard let lr = args.double("lr") else { throw .required(flags: ["--lr"]) }
    guard let minLR = args.double("min_lr"), minLR >= 0, minLR <= lr else {
      throw .conflict("--min-lr must lie between 0 and --lr")
    }
    let span = try LearningRateSchedule.span(args)
    let warmup = try LearningRateSchedule.warmup(args, span)
    guard let start = args.double("start_weight_decay"), let end = args.double("end_weight_decay") else {
      throw .required(flags: ["--start-weight-decay and --end-weight-decay"])
    }
    guard start >= 0, end >= start else {
      throw .conflict("--end-weight-decay must not be less than --start-weight-decay, and neither negative")
    }
    entries = [
      ("max_lr", .float(lr)),
      ("lr_warmup_steps", warmup),
      ("lr_warmup_tokens", args["lr_warmup_tokens"] ?? .none),
      ("num_steps", .int(0)),
      ("num_tokens", .int(0)),
      ("lr_decay_style", args["lr_decay_style"] ?? .none),
      ("lr_decay_steps", .int(span.decaySteps)),
      ("lr_decay_tokens", args["lr_decay_tokens"] ?? .none),
      ("min_lr", args["min_lr"] ?? .none),
      ("start_wd", args["start_weight_decay"] ?? .none),
      ("end_wd", args["end_weight_decay"] ?? .none),
      ("wd_incr_style", args["weight_decay_incr_style"] ?? .none),
      ("wd_incr_steps", .int(span.trainSteps)),
    ]
  }

  private static func warmup(_ args: MegatronArguments, _ span: Span) throws(MegatronArgumentError)
    -> ArgumentValue
  {
    var warmup = ArgumentValue.int(span.warmupSteps)
    if let fraction = args.double("lr_warmup_fraction") {
      guard span.warmupSteps == 0 else {
        throw .conflict("only one of --lr-warmup-fraction and \(span.warmupFlag) can be given")
      }
      warmup = .float(fraction * Double(span.decaySteps))
    }
    guard span.decaySteps > 0, (warmup.asDouble ?? 0) < Double(span.decaySteps) else {
      throw .conflict(
        "the learning rate's warmup (\(span.warmupFlag), --lr-warmup-fraction) must be shorter than its decay"
      )
    }
    return warmup
  }

  /// Lengths in the scheduler's steps, which are samples.
  private struct Span {
    let trainSteps: Int
    let decaySteps: Int
    let warmupSteps: Int
    let warmupFlag: String
  }

  private static func span(_ args: MegatronArguments) throws(MegatronArgumentError) -> Span {
    if let samples = args.int("train_samples"), samples > 0 {
      return Span(
        trainSteps: samples, decaySteps: args.int("lr_decay_samples") ?? samples,
        warmupSteps: args.int("lr_warmup_samples") ?? 0, warmupFlag: "--lr-warmup-samples")
    }
    guard let iterations = args.int("train_iters"), iterations > 0 else {
      throw .required(flags: ["--train-iters", "--train-samples"])
    }
    guard let batch = args.int("global_batch_size") else { throw .required(flags: ["--micro-batch-size"]) }
    func steps(_ iterations: Int) throws(MegatronArgumentError) -> Int {
      let (steps, overflow) = iterations.multipliedReportingOverflow(by: batch)
      if overflow { throw .conflict("\(iterations) iterations of \(batch) samples are too many") }
      return steps
    }
    return Span(
      trainSteps: try steps(iterations), decaySteps: try steps(args.int("lr_decay_iters") ?? iterations),
      warmupSteps: try steps(args.int("lr_warmup_iters") ?? 0), warmupFlag: "--lr-warmup-iters")
  }
}
