import ArgumentParser
import Bytes
import Checkpoints
import HuggingFace

/// Ranks as a user lists them: `all`, `0-11`, `0,4,8-11`.
enum Ranks: ExpressibleByArgument, Equatable {
  case all
  case listed([ClosedRange<Int>])

  init?(argument: String) {
    if argument == "all" {
      self = .all
      return
    }
    var ranges: [ClosedRange<Int>] = []
    for word in argument.split(separator: ",", omittingEmptySubsequences: false) {
      let ends = word.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
      guard (1...2).contains(ends.count), let first = ends[0], let last = ends[ends.count - 1], first <= last
      else { return nil }
      ranges.append(first...last)
    }
    self = .listed(ranges)
  }

  /// Those below `worldSize`.
  ///
  /// - Throws: `ValidationError` where one isn't.
  func numbers(worldSize: Int) throws -> [Int] {
    guard case .listed(let ranges) = self else { return Array(0..<worldSize) }
    if let beyond = ranges.first(where: { $0.upperBound >= worldSize }) {
      throw ValidationError(
        "Rank \(beyond.upperBound): the layout has \(worldSize) ranks, from 0 to \(worldSize - 1).")
    }
    return Array(Set(ranges.flatMap { Array($0) })).sorted()
  }
}

extension Checkpoint {
  /// Reads what `ranks` need of the model into the page cache, and shows how far it is.
  func warm(_ ranks: Ranks, _ directory: HuggingFaceDirectory) throws -> Warming {
    let numbers = try ranks.numbers(worldSize: layout.worldSize)
    let paths = Set(numbers.flatMap { self.paths(ofRank: $0) })
    let files = tree(modified: directory.modified).entries.lazy.filter { paths.contains($0.path) }
    let warming = Warming(files.map { $0.file() })
    let progress = ByteProgress(totalBytes: warming.bytes)
    try ProgressDisplay(json: false).showing(progress) { try warming.run(progress) }
    return warming
  }
}
