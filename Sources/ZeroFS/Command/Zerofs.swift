import ArgumentParser

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
      EstimateCommand.self, LayoutsCommand.self, ParameterOrderCommand.self, ConfigurationCommand.self,
    ])
}
