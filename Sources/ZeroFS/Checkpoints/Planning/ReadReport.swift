import Bytes
import Glibc

/// What the nodes of a run read from the file system that the model is on, while all their ranks load: the answer of
/// `zerofs plan --reads`. Counted from the files' extents; nothing is read.
package struct ReadReport: Encodable, Sendable {
  struct Node: Encodable {
    /// Of the source, each piece once: the ranks of a node share its page cache.
    var bytes = 0
    /// Pieces that are asked for (`Prefetcher.pieceCount`).
    var requests = 0
    /// Of the materialised tree, each file once.
    var treeBytes = 0

    static func + (one: Node, other: Node) -> Node {
      Node(
        bytes: one.bytes + other.bytes, requests: one.requests + other.requests,
        treeBytes: one.treeBytes + other.treeBytes)
    }
  }

  let ranks: Int
  let ranksPerNode: Int
  let nodes: Int
  /// Of the source's tensors that are read at all.
  let modelBytes: Int
  /// The node that reads most.
  let largestNode: Node
  let allNodes: Node
  /// Bytes of the materialised tree if every rank reads its files for itself.
  let treeBytesByRank: Int
  /// How often a byte of the source is read.
  let timesRead: Double

  /// - Parameter ranksPerNode: consecutive ranks are on one node.
  package init(_ checkpoint: Checkpoint, ranksPerNode: Int, modified: timespec) {
    let entries = Dictionary(
      uniqueKeysWithValues: checkpoint.tree(modified: modified).entries.map { ($0.path, $0) })
    var known: [String: File] = [:]
    var sources: [ObjectIdentifier: Int] = [:]
    func file(_ path: String) -> File {
      if let file = known[path] { return file }
      let file = entries[path].map { File($0.file(), &sources) } ?? File()
      known[path] = file
      return file
    }
    let ranks = checkpoint.layout.worldSize
    var (largest, all, byRank) = (Node(), Node(), 0)
    var pieces: Set<Piece> = []
    for first in stride(from: 0, to: ranks, by: ranksPerNode) {
      let paths = (first..<min(first + ranksPerNode, ranks)).flatMap { checkpoint.paths(ofRank: $0) }
      byRank += paths.reduce(0) { $0 + file($1).treeBytes }
      var own: Set<Piece> = []
      var node = Node()
      for path in Set(paths) {
        own.formUnion(file(path).pieces)
        node.treeBytes += file(path).treeBytes
      }
      (node.bytes, node.requests) = (own.reduce(0) { $0 + $1.bytes }, own.count)
      pieces.formUnion(own)
      all = all + node
      if node.bytes > largest.bytes { largest = node }
    }
    (self.ranks, self.ranksPerNode, nodes) = (ranks, ranksPerNode, (ranks + ranksPerNode - 1) / ranksPerNode)
    modelBytes = pieces.reduce(0) { $0 + $1.bytes }
    (largestNode, allNodes, treeBytesByRank) = (largest, all, byRank)
    timesRead = Double(all.bytes) / Double(max(modelBytes, 1))
  }

  private struct Piece: Hashable {
    let source: Int
    let start: Int
    let bytes: Int
  }

  private struct File {
    var pieces: [Piece] = []
    /// Without holes.
    var treeBytes = 0

    init() {}

    init(_ file: VirtualFile, _ sources: inout [ObjectIdentifier: Int]) {
      treeBytes = file.dataBytes
      pieces = Warming([file]).pieces.map { piece in
        let source = sources[ObjectIdentifier(piece.file), default: sources.count]
        sources[ObjectIdentifier(piece.file)] = source
        return Piece(source: source, start: piece.bytes.lowerBound, bytes: piece.bytes.count)
      }
    }
  }

  package var json: String { reportJSON(self) }

  package var text: String {
    """
    \(ranks) ranks on \(nodes) nodes of \(ranksPerNode), all files of all ranks:
      a node reads at most \(largestNode.bytes.bytesText) in \(largestNode.requests) requests; \
    of a materialised tree \(largestNode.treeBytes.bytesText)
      all nodes read \(allNodes.bytes.bytesText) in \(allNodes.requests) requests, each byte \
    \((timesRead * 100).rounded() / 100) times; of a materialised tree \(allNodes.treeBytes.bytesText), or \
    \(treeBytesByRank.bytesText) if each rank reads for itself
    """
  }
}
