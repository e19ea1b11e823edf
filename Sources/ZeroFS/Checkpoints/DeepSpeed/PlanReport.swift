import Bytes
import FoundationEssentials

/// What a checkpoint consists of: the answer of `zerofs plan`.
package struct PlanReport: ServedReport, Encodable, Sendable {
  struct Layout: Encodable {
    let tp: Int
    let pp: Int
    let dp: Int
    let sp: Int
    let zeroStage: Int
    let dtype: String
    let engine: String
    let worldSize: Int
  }

  struct File: Encodable {
    let path: String
    /// In bytes; `data` without holes.
    let size: Int
    let data: Int

    init(_ entry: FileTree.Entry) {
      let file = entry.file()
      (path, size, data) = (entry.path, file.count, file.dataBytes)
    }
  }

  /// What the ranks of one model-parallel rank read at a full load: files that are opened only to look at one key are left out.
  struct Rank: Encodable {
    let mpRank: Int
    let tp: Int
    let pp: Int
    /// In bytes: layer files and `mp_rank` file.
    let modelStates: Int
    /// In bytes, of the data-parallel rank with the largest file.
    let optimizerStates: Int
  }

  let model: ModelSummary
  let layout: Layout
  let files: [File]
  let ranks: [Rank]
  let totalBytes: Int
  let loading: [String]
  package let warnings: [String]

  package init(_ checkpoint: Checkpoint) {
    let l = checkpoint.layout
    model = checkpoint.summary
    layout = Layout(
      tp: l.tp, pp: l.pp, dp: l.dp, sp: l.sp, zeroStage: l.zeroStage, dtype: l.dtype.torchName,
      engine: l.engine == .pipeline ? "pipeline" : "no-pipeline", worldSize: l.worldSize)
    // Rank by rank: at most one rank's files for each processor at a time.
    let ofRanks = Workers.run(Workers.cores, l.modelParallelRanks) { rank in
      checkpoint.entries(tp: rank.tp, pp: rank.pp).map(File.init)
    }
    files = (checkpoint.sharedEntries.map(File.init) + ofRanks.joined()).sorted { $0.path < $1.path }
    totalBytes = files.reduce(0) { $0 + $1.size }
    let sizes = Dictionary(uniqueKeysWithValues: files.map { ($0.path, $0.size) })
    ranks = l.modelParallelRanks.map { tp, pp in
      Rank(
        mpRank: l.modelParallelRank(tp: tp, pp: pp), tp: tp, pp: pp,
        modelStates: checkpoint.modelStatePaths(tp: tp, pp: pp).reduce(0) { $0 + (sizes[$1] ?? 0) },
        optimizerStates: checkpoint.optimizerStatePaths(tp: tp, pp: pp).map { sizes[$0] ?? 0 }.max() ?? 0)
    }
    loading = checkpoint.loading
    warnings = checkpoint.warnings
  }

  package var json: String { reportJSON(self) }

  /// For people: files of one kind in a line.
  package var text: String {
    text(files: FoldedFiles.fold(files.map { ($0.path, $0.size) }).map { ($0.size, $0.text) })
  }

  /// Likewise, with every file.
  package var textOfAllFiles: String { text(files: files.map { ("\($0.size)", $0.path) }) }

  private func text(files lines: [(size: String, name: String)]) -> String {
    let width = lines.map(\.size.count).max() ?? 0
    let sizes =
      "TP \(layout.tp) × PP \(layout.pp) × DP \(layout.dp)" + (layout.sp > 1 ? " × SP \(layout.sp)" : "")
    return
      ([
        modelLine,
        "\(sizes) = \(layout.worldSize) ranks, ZeRO \(layout.zeroStage), \(layout.dtype), \(layout.engine) engine",
        "",
      ] + lines.map { Self.right($0.size, width) + "  " + $0.name }
      + ["", "\(files.count) files, \(totalBytes.bytesText)"] + rankLines + loading).joined(separator: "\n")
  }

  /// What a rank reads, from the least to the most.
  private var rankLines: [String] {
    func range(_ bytes: [Int]) -> String {
      guard let least = bytes.min(), let most = bytes.max() else { return "nothing" }
      return least == most ? most.bytesText : "\(least.bytesText) to \(most.bytesText)"
    }
    return [
      "each rank reads model states of \(range(ranks.map(\.modelStates))), optimizer states of "
        + range(ranks.map(\.optimizerStates))
    ]
  }

  private var modelLine: String {
    var facts: [String] = []
    if let layers = model.layers { facts.append("\(layers) layers") }
    if let size = model.hiddenSize { facts.append("hidden size \(size)") }
    if let size = model.vocabularySize {
      let padded = model.paddedVocabularySize ?? size
      facts.append("vocabulary \(size)" + (padded == size ? "" : " (padded to \(padded))"))
    }
    if model.isTied { facts.append("tied embeddings") }
    return "\(model.type): " + facts.joined(separator: ", ")
  }

  private static func right(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.count)) + text
  }
}
