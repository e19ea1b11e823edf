import Bytes
import Checkpoints
import FoundationEssentials
import Glibc
import HuggingFace

/// `zerofs-windows SOURCE ORIGIN REFERENCE SEED COUNT`: reads that many random windows of the files that SOURCE is served as with
/// the options of ORIGIN (a mount's `.zerofs/origin.json`), and holds them against the files in REFERENCE, a copy of that mount
/// which somebody else has held against what Megatron-DeepSpeed saved.
@main struct Main {
  static func main() throws {
    let words = CommandLine.arguments.dropFirst()
    guard words.count == 5, let seed = UInt64(words[4]), let count = Int(words[5]) else {
      print("usage: zerofs-windows SOURCE ORIGIN REFERENCE SEED COUNT")
      exit(64)
    }
    var check = try WindowCheck(source: words[1], origin: words[2], reference: words[3], seed: seed)
    try check.run(count)
    print("\(count) windows of \(check.files.count) files are equal")
  }
}

struct WindowCheck: ~Copyable {
  let files: [(path: String, file: VirtualFile, reference: [UInt8])]
  /// Where two extents meet, in each file.
  private let edges: [[Int]]
  private let call: String
  private var generator: SplitMix
  private var gather = Gather(capacity: WindowCheck.maxWindow)

  /// Bytes: what the kernel asks for at once.
  private static let maxWindow = 1 << 20

  init(source: String, origin: String, reference: String, seed: UInt64) throws {
    call = "zerofs-windows \(source) \(origin) \(reference) \(seed)"
    generator = SplitMix(state: seed)
    let options = try JSONDecoder().decode(Origin.self, from: Data(SourceFile.contents(of: origin))).options
    let planner = try CheckpointPlanner(WindowCheck.source(source, options), options)
    files = try planner.served().tree(modified: timespec()).entries.map { entry in
      (entry.path, entry.file(), try SourceFile.contents(of: "\(reference)/\(entry.path)", limit: 1 << 30))
    }
    edges = files.map { file in
      file.file.extents.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1.count) }
    }
  }

  private struct Origin: Decodable { let options: CheckpointOptions }

  private static func source(_ path: String, _ options: CheckpointOptions) throws -> CheckpointSource {
    try TrainedCheckpoint.isOne(path)
      ? .trained(try TrainedCheckpoint(path, tag: options.tag, need: options.need))
      : .model(try HuggingFaceDirectory(path: path))
  }

  mutating func run(_ count: Int) throws {
    for (path, file, reference) in files where file.count != reference.count {
      fatalError("\(call): \(path) has \(file.count) bytes, and \(reference.count) in the reference")
    }
    for number in 0..<count {
      let index = generator.below(files.count)
      let window = window(of: index)
      let verbatim = number.isMultiple(of: 2) ? Gather.VerbatimRuns.copied : .mapped
      let file = files[index]
      try file.file.read(window, into: &gather, verbatim: verbatim)
      var position = window.lowerBound
      gather.forEachPiece { piece in
        let isEqual = file.reference[position..<min(position + piece.count, file.reference.count)]
          .elementsEqual(piece)
        if !isEqual {
          fatalError("\(call) \(number + 1): \(file.path), bytes \(window), a piece at \(position)")
        }
        position += piece.count
      }
      guard position == window.upperBound else {
        fatalError("\(call) \(number + 1): \(file.path), \(window) ends at \(position)")
      }
      if file.file.isZeros(in: window), file.reference[window].contains(where: { $0 != 0 }) {
        fatalError("\(call) \(number + 1): \(file.path), \(window) is no hole")
      }
    }
  }

  /// Around the edge of two extents, of a page, or anywhere; mostly short.
  private mutating func window(of index: Int) -> Range<Int> {
    let size = files[index].file.count
    let start =
      switch generator.below(4) {
      case 0: edges[index][generator.below(edges[index].count)] - generator.below(9)
      case 1: generator.below(size / 4096 + 1) * 4096 - generator.below(5)
      default: generator.below(size)
      }
    let length =
      switch generator.below(64) {
      case 0: generator.below(Self.maxWindow)
      case 1...16: generator.below(8192)
      default: generator.below(64)
      }
    let lower = min(max(start, 0), size)
    return lower..<min(lower + length, size)
  }
}

/// Sebastiano Vigna's SplitMix64: a seed is enough to repeat a run.
struct SplitMix {
  var state: UInt64

  mutating func below(_ bound: Int) -> Int {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return Int((z ^ (z >> 31)) % UInt64(max(bound, 1)))
  }
}
