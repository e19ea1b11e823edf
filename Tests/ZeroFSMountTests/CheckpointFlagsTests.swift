import ArgumentParser
import Foundation
import Testing

@testable import Checkpoints
@testable import Command

@Suite struct CheckpointFlagsTests {
  /// A word for each option of the table that has a value, other than its default.
  private static let words = [
    "--as": "hf", "--like": "/dir", "--weights": "parameters", "--tag": "global_step5",
    "--flavor": "upstream",
    "--parameter-order": "{}", "--tp": "2", "--pp": "3", "--dp": "4", "--sp": "5",
    "--zero-stage": "2",
    "--dtype": "fp16", "--iteration": "7", "--make-vocab-size-divisible-by": "64", "--vocab-padding": "mean",
    "--train-args": "--lr 1e-4", "--deepspeed-config": "{}", "--deepspeed-version": "0.16.9",
    "--seed": "1", "--device": "xpu", "--optimizer": "adamw", "--moments": "zeros", "--masters": "source",
    "--grad-accum-dtype": "fp32", "--sub-group-size": "10", "--extension": "unguarded",
  ]

  /// A flag that `options()` forgets would be taken and do nothing.
  @Test func everyOptionComesFromItsFlag() throws {
    let scratch = try Scratch()
    try Data(#"{"model": {"vocab": {"a": 0, "b": 1, "c": 2}}}"#.utf8).write(
      to: URL(fileURLWithPath: scratch.root + "/tokenizer.json"))
    var line: [String] = []
    for field in OptionField.all {
      let word = field.flag == "--tokenizer" ? scratch.root : Self.words[field.flag]
      try #require(!field.takesValue || word != nil, "the test has no word for \(field.flag)")
      line += [field.flag] + (field.takesValue ? [word ?? ""] : [])
    }
    let options = try CheckpointFlags.parse(line).options()
    for field in OptionField.all {
      let text = try #require(field.text(options), "\(field.flag) is forgotten")
      switch field.flag {
      case "--tokenizer": #expect(text == "3")
      case "--parameter-order", "--train-args", "--deepspeed-config":
        #expect(text.contains(Self.words[field.flag]!))
      case let flag: #expect(text == (field.takesValue ? Self.words[flag] : "true"), "\(flag)")
      }
    }
  }
}
