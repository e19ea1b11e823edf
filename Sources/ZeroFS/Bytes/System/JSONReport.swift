import FoundationEssentials

/// A report for people and programs.
package func reportJSON(_ report: some Encodable) -> String {
  encoded(report, [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes])
}

/// The same in one line.
package func reportLine(_ report: some Encodable) -> String {
  encoded(report, [.sortedKeys, .withoutEscapingSlashes])
}

private func encoded(_ report: some Encodable, _ formatting: JSONEncoder.OutputFormatting) -> String {
  let encoder = JSONEncoder()
  encoder.outputFormatting = formatting
  encoder.nonConformingFloatEncodingStrategy = .convertToString(
    positiveInfinity: "Infinity", negativeInfinity: "-Infinity", nan: "NaN")
  do { return String(decoding: try encoder.encode(report), as: UTF8.self) } catch {
    // Numbers, texts and lists of them: nothing that JSON can't hold.
    preconditionFailure("a report that is no JSON: \(error)")
  }
}

/// One line on why JSON could not be decoded.
package func decodingProblem(_ error: any Error) -> String {
  func at(_ path: [any CodingKey]) -> String {
    path.isEmpty ? "it" : path.map(\.stringValue).joined(separator: ".")
  }
  return switch error {
  case DecodingError.keyNotFound(let key, let context): "no \(at(context.codingPath + [key]))"
  case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context):
    "\(at(context.codingPath)) is of another type"
  case DecodingError.dataCorrupted(let context):
    context.codingPath.isEmpty ? "it can't be parsed" : "\(at(context.codingPath)) can't be read"
  default: "it can't be parsed"
  }
}
