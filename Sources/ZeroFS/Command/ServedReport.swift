import Checkpoints
import Glibc

/// The answer of `zerofs plan`, of whatever is served.
protocol ServedReport {
  var json: String { get }
  var text: String { get }
  var textOfAllFiles: String { get }
  var warnings: [String] { get }
}

extension PlanReport: ServedReport {}
extension ExportReport: ServedReport {}

func planReport(_ served: any ServedTree, modified: timespec) -> any ServedReport {
  switch served {
  case let export as HuggingFaceExport: ExportReport(export, modified: modified)
  case let checkpoint as Checkpoint: PlanReport(checkpoint)
  default: preconditionFailure("nothing else is served")
  }
}
