import ArgumentParser
import Bytes

@main
struct Zerofs: ParsableCommand {
  static let version = "0.1.0"
  static let configuration = CommandConfiguration(
    commandName: "zerofs",
    abstract:
      "Present a Hugging Face model directory as the checkpoint that Megatron-DeepSpeed would have saved.",
    version: version,
    subcommands: [
      MountCommand.self, UmountCommand.self, PlanCommand.self, MaterializeCommand.self, VerifyCommand.self,
      RunCommand.self, StatusCommand.self, ArgsCommand.self, CheckCommand.self, EstimateCommand.self,
      LayoutsCommand.self,
      ParameterOrderCommand.self, ConfigurationCommand.self, ModelsCommand.self, WarmCommand.self,
    ])

  static func main() {
    // Before any file is opened: each shard stays open, and 405B has more than a shell's 64 or 256.
    DescriptorLimit.raise()
    main(MountInvocation.arguments(Array(CommandLine.arguments.dropFirst())))
  }

  static var subcommandNames: [String] {
    configuration.subcommands.compactMap { $0.configuration.commandName } + ["help"]
  }
}
