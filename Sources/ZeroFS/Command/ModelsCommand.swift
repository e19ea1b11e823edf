import ArgumentParser
import Checkpoints

/// `zerofs models`: the families that are served for Megatron-DeepSpeed, and why others aren't. docs/models.md has what it prints.
struct ModelsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "models",
    abstract: "List the model families that Megatron-DeepSpeed can compute, and why not others.")

  func run() { print(ModelList.markdown) }
}
