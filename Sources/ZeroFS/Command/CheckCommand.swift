import ArgumentParser
import Bytes
import Checkpoints

/// `zerofs check`: a run's command line held against a model.
struct CheckCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Hold a run's command line, script or log against a model.",
    discussion: """
      Prints what is not as the model needs it: as given, as it must be, and what goes wrong. Status 10 where MDS would stop or \
      compute another model; 0 otherwise. What is a choice of training but costs loss is printed, too, and refused with --strict.
      """)

  @OptionGroup
  var source: SourceArguments

  @Flag(help: "Refuse choices that cost loss, too.")
  var strict = false

  @Flag(help: "Print JSON.")
  var json = false

  func validate() throws {
    if source.options.run.trainArguments == nil {
      throw ValidationError("--train-args: the command line to check.")
    }
  }

  func run() throws {
    try reporting {
      let planner = try source.model().planner()
      let findings = try planner.findings()
      try output(json ? reportJSON(findings) : text(findings))
      if findings.contains(where: { strict || $0.kind != .choice }) {
        throw ExitCode(ExitStatus.run.rawValue)
      }
    }
  }

  private func text(_ findings: [ArgumentFinding]) -> String {
    guard !findings.isEmpty else { return "nothing contradicts the model" }
    let rows =
      [["argument", "given", "has to be", "otherwise"]]
      + findings.map { [$0.argument, $0.given, $0.needed, "\($0.kind.words): \($0.otherwise)"] }
    return table(rows)
  }
}

extension ArgumentFact.Kind {
  fileprivate var words: String {
    switch self {
    case .stops: "MDS stops"
    case .loss: "another model"
    case .choice: "higher loss"
    }
  }
}

/// Columns of a text, each as wide as its widest cell.
func table(_ rows: [[String]]) -> String {
  let columns = rows.map(\.count).max() ?? 0
  let widths = (0..<columns).map { column in rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
  }
  return rows.map { row in
    zip(row, widths).enumerated().map { column, cell in
      column == row.count - 1 ? cell.0 : cell.0 + String(repeating: " ", count: cell.1 - cell.0.count)
    }.joined(separator: "  ")
  }.joined(separator: "\n")
}
