import ArgumentParser
import Bytes
import Checkpoints
import HuggingFace

/// `zerofs configuration`: how a config.json is read, for whoever compares that with transformers.
struct ConfigurationCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "configuration",
    abstract: "Print what zerofs takes from config.json files, one line of JSON each.", shouldDisplay: false)

  @Argument(help: ArgumentHelp("config.json files.", valueName: "file"))
  var files: [String]

  func run() throws {
    try reporting { for file in files { print(line(file)) } }
  }

  private func line(_ path: String) -> String {
    do {
      let file: any StoredFile
      do { file = try SourceFile(path: path) } catch { throw SourceError.unreadable(error) }
      let configuration = try ConfigurationFile(file)
      guard let keys = ModelFamily.keys(of: configuration.modelType) else {
        return reportLine(["unknown": configuration.modelType])
      }
      let dtype: String
      do { dtype = try configuration.dtype()?.torchName ?? "" } catch { dtype = "refused" }
      return reportLine(ConfigurationReport(try ModelConfiguration(configuration, keys: keys), dtype: dtype))
    } catch {
      return reportLine(["error": "\(error)"])
    }
  }
}
