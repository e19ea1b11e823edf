import Foundation
import Testing

@testable import Bytes
@testable import Checkpoints
@testable import Run

@Suite struct CheckpointOptionsTests {
  /// Every option set, each to something else than its default.
  private static var full: CheckpointOptions {
    var options = LayoutName("tp2-pp3-dp4-sp5-zero1-fp16-nopipe-it7-div64-padmean-untied-universal")!.options
    (options.flavor, options.parameterOrder) = (.upstream, NamedText("{}", name: "order.json"))
    (options.trainArguments, options.deepSpeedVersion) = (NamedText("--lr 1", name: "run.sh"), "0.16.9")
    options.deepSpeedConfiguration = NamedText("{\"a\": 1}", name: "ds.json")
    (options.seed, options.device, options.optimizer, options.fusedAdam) = (1, .xpu, "adamw", true)
    (options.moments, options.masters, options.gradAccumDtype) = (.zeros, .source, .fp32)
    (options.subGroupSize, options.tokens, options.extensionUse) = (10, 50000, .unguarded)
    (options.view, options.like, options.weights, options.drop) = (.hf, "dir", .parameters, true)
    (options.tag, options.newStage) = ("global_step5", true)
    return options
  }

  /// An option that the table lacks would silently give archives and resumes another checkpoint.
  @Test func theTableHasEveryOption() {
    let members = Mirror(reflecting: Self.full).children
    #expect(members.count == OptionField.all.count)
    #expect(OptionField.all.allSatisfy { $0.text(Self.full) != nil }, "an option isn't set by the test")
    #expect(Set(OptionField.all.map(\.flag)).count == OptionField.all.count)
  }

  @Test func recordsAreReadAsWritten() throws {
    let json = try JSONEncoder().encode(Self.full)
    #expect(try JSONDecoder().decode(CheckpointOptions.self, from: json) == Self.full)
    #expect(try JSONDecoder().decode(CheckpointOptions.self, from: Data("{}".utf8)) == CheckpointOptions())
  }

  @Test func olderRecordsAreCommandLines() throws {
    let words = OptionField.all.flatMap { field -> [String] in
      [field.flag] + (field.takesValue ? [field.text(Self.full)!] : [])
    }
    // Texts are records' own, not Swift's description of a value.
    let texts = ["--parameter-order": "{}", "--train-args": "--lr 1", "--deepspeed-config": "{\"a\": 1}"]
    var fixed = words
    for (index, word) in words.enumerated() { if let text = texts[word] { fixed[index + 1] = text } }
    let json = try JSONEncoder().encode(fixed)
    #expect(try JSONDecoder().decode(CheckpointOptions.self, from: json) == Self.full)
  }

  @Test(arguments: [
    #"["--help"]"#, #"["--tp"]"#, #"["--tp", "two"]"#, #"["tp", "2"]"#, #"{"tp": "2"}"#, #"{"help": true}"#,
    #"{"flavor": "x"}"#, "7",
  ]) func aRecordIsData(json: String) {
    #expect(throws: (any Error).self) {
      try JSONDecoder().decode(CheckpointOptions.self, from: Data(json.utf8))
    }
  }

  @Test func whatIsGivenWins() {
    var given = CheckpointOptions()
    given.tp = 8
    let both = given.over(Self.full)
    #expect(both.tp == 8 && both.pp == 3 && both.moments == .zeros)
    #expect(Self.full.over(given) == Self.full)
  }

  @Test func contradictionsAreSaid() throws {
    var run = CheckpointOptions()
    run.tp = 4
    run.noPipelineParallel = false
    #expect(throws: LayoutError.contradiction(option: "--tp 2", trainArgs: "4")) {
      try Self.full.agreeing(with: run)
    }
    var given = CheckpointOptions()
    given.noPipelineParallel = true
    #expect(throws: LayoutError.contradiction(option: "--no-pipeline-parallel", trainArgs: "otherwise")) {
      try given.agreeing(with: run)
    }
    given.noPipelineParallel = nil
    #expect(try given.agreeing(with: run).tp == 4)
  }
}
