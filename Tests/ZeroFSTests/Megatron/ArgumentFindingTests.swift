import Foundation
import Testing

@testable import Bytes
@testable import Checkpoints
@testable import HuggingFace
@testable import Run

struct ArgumentFindingTests {
  /// What `args` prints for a model of every family is what `check` finds nothing against.
  @Test(arguments: ModelFamilyTests.types)
  func whatIsPrintedIsRight(type: String) throws {
    let directory = try TinyModel(type)
    let plan = try directory.plan(tp: 2)
    let line = MegatronCommandLine(plan, tokens: nil, configuration: nil)
    let run = try MegatronArguments(commandLine: line.text(.lines))
    #expect(try RunArguments.findings(run, nil, plan).map(\.argument) == [])
    // And without one of them something is.
    for missing in line.arguments where missing.kind != .stops || missing.argument == "--hidden-size" {
      let words = line.arguments.filter { $0.argument != missing.argument }.map(\.text)
      let unfused = missing.argument == "--openai-gelu" ? " --no-bias-gelu-fusion" : ""
      let run = try MegatronArguments(commandLine: words.joined(separator: " ") + unfused)
      #expect(try !RunArguments.findings(run, nil, plan).isEmpty, "\(type) without \(missing.argument)")
    }
  }

  /// Stops first, choices last.
  @Test func order() throws {
    let plan = try TinyModel("llama").plan(tp: 1)
    let found = try RunArguments.findings(MegatronArguments(commandLine: "--seq-length 64"), nil, plan)
    let order: [ArgumentFact.Kind] = [.stops, .loss, .choice]
    let places = found.compactMap { order.firstIndex(of: $0.kind) }
    #expect(places == places.sorted() && Set(places).count == 3)
    #expect(found.contains { $0.argument == "seq_length" && $0.kind == .choice })
  }

  /// `zerofs_megatron/facts.py` reads these.
  @Test func whatTheLauncherCompares() throws {
    let plan = try TinyModel("llama").plan(tp: 2)
    let facts = Dictionary(uniqueKeysWithValues: ArgumentFact.ofLauncher(plan).map { ($0.name, $0) })
    #expect(facts["hidden_size"]?.value == .int(TinyModel.sizes.hidden))
    #expect(facts["hidden_size"]?.kind == .stops)
    #expect(facts["num_experts_switch"]?.value == ArgumentValue.none)
    // Choices and bounds are the user's; layouts are those of the directory that the run loads.
    for name in [
      "hidden_dropout", "seq_length", "tensor_model_parallel_size", "make_vocab_size_divisible_by",
    ] {
      #expect(facts[name] == nil)
    }
  }
}
