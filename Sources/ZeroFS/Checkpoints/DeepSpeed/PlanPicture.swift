import Bytes

extension PlanReport {
  /// What each model-parallel rank reads, as SVG: stages across, tensor-parallel ranks down, bytes by shade, written in each cell.
  package var picture: String {
    let cell = (width: 92, height: 34)
    let (left, top) = (48, 44)
    let bytes = ranks.map { $0.modelStates + $0.optimizerStates }
    let most = max(1, bytes.max() ?? 1)
    var shapes = [
      text(left, 16, "\(model.type): bytes that a rank of each stage and tensor-parallel rank reads")
    ]
    for pp in 0..<layout.pp { shapes.append(text(left + pp * cell.width, top - 8, "stage \(pp)")) }
    for tp in 0..<layout.tp { shapes.append(text(4, top + tp * cell.height + 22, "TP \(tp)")) }
    for (rank, bytes) in zip(ranks, bytes) {
      let (x, y) = (left + rank.pp * cell.width, top + rank.tp * cell.height)
      // From a light blue to a dark one, whose text is white.
      let shade = 92 - 60 * bytes / most
      shapes.append(
        "<rect x=\"\(x)\" y=\"\(y)\" width=\"\(cell.width - 4)\" height=\"\(cell.height - 4)\" fill=\"hsl(210 60% \(shade)%)\">"
          + "<title>mp_rank \(rank.mpRank): model \(rank.modelStates.bytesText), optimizer \(rank.optimizerStates.bytesText)</title></rect>"
      )
      shapes.append(text(x + 6, y + 20, bytes.bytesText, color: shade < 60 ? "white" : "black"))
    }
    let (width, height) = (left + max(6, layout.pp) * cell.width, top + layout.tp * cell.height)
    return
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"\(width)\" height=\"\(height)\" font-family=\"sans-serif\" font-size=\"13\">\n"
      + shapes.joined(separator: "\n") + "\n</svg>"
  }

  private func text(_ x: Int, _ y: Int, _ words: String, color: String = "black") -> String {
    let escaped = words.split(separator: "<", omittingEmptySubsequences: false).joined(separator: "&lt;")
    return "<text x=\"\(x)\" y=\"\(y)\" fill=\"\(color)\">\(escaped)</text>"
  }
}
