import Bytes

/// Of which tensors a parameter is made, and how tensor-parallel ranks share it: the one place of this rule. What is read, what
/// is read back, a rank's shape, the sizes that TP must divide, and the marks of universal checkpoints follow.
enum Sharding: Sendable {
  /// Whole on every rank (MDS `megatron/core/tensor_parallel/layers.py`: parameters without `tensor_model_parallel`).
  case replicated(Content)
  /// The rank's rows of each in turn: of the gate, then of the up-projection (`ColumnParallelLinear`; `transformer.py`:
  /// `ParallelMLP`, whose chunks are those of a rank).
  case rows([Content], of: Unit)
  /// The rank's columns (`RowParallelLinear`).
  case columns(Content, of: Unit)
  /// For each of the rank's key-value groups its query rows, its key rows, its value rows (`transformer.py`:
  /// `ParallelAttention.split_tensor`).
  case groups(query: Content, key: Content, value: Content)
  /// The rank's rows of the padded vocabulary (`VocabParallelEmbedding`).
  case vocabulary(Content)

  /// What a parameter, or a part of one, is made of.
  enum Content: Sendable {
    case stored(HFTensor)
    /// For what transformers has no tensor.
    case constant(Float, shape: [Int])

    var shape: [Int] {
      switch self {
      case .stored(let tensor): tensor.shape
      case .constant(_, let shape): shape
      }
    }
  }

  /// Things that TP divides, with their name in messages.
  struct Unit: Sendable, Hashable {
    let name: String
    let count: Int
  }
}

/// A block of a content (`whole`) and the block of one rank's parameter (`part`) with the same elements.
struct BlockPair: Sendable {
  /// In `Sharding.contents`.
  let content: Int
  let whole: Block
  let part: Block
}

extension Sharding {
  var contents: [Content] {
    switch self {
    case .replicated(let content), .columns(let content, _), .vocabulary(let content): [content]
    case .rows(let contents, _): contents
    case .groups(let query, let key, let value): [query, key, value]
    }
  }

  /// The blocks of rank `tp` of `geometry`, which tile its parameter but for padded rows of the vocabulary.
  func blocks(_ geometry: TensorParallelism, tp: Int) -> [BlockPair] {
    switch self {
    case .replicated(let content):
      return [BlockPair(content: 0, whole: .rows(0..<content.shape[0], of: content.shape), at: 0)]
    case .rows(let contents, _):
      var start = 0
      return contents.enumerated().map { index, content in
        let share = content.shape[0] / geometry.size
        defer { start += share }
        return BlockPair(
          content: index, whole: .rows((tp * share)..<((tp + 1) * share), of: content.shape), at: start)
      }
    case .columns(let content, _):
      let share = content.shape[1] / geometry.size
      let rows = 0..<content.shape[0]
      return [
        BlockPair(
          content: 0, whole: Block(rows: rows, columns: (tp * share)..<((tp + 1) * share)),
          part: Block(rows: rows, columns: 0..<share))
      ]
    case .groups(let query, let key, let value):
      let groups = geometry.keyValueHeads / geometry.size
      var start = 0
      return ((tp * groups)..<((tp + 1) * groups)).flatMap { group in
        [query, key, value].enumerated().map { index, content in
          let count = content.shape[0] / geometry.keyValueHeads
          defer { start += count }
          return BlockPair(
            content: index, whole: .rows((group * count)..<((group + 1) * count), of: content.shape),
            at: start)
        }
      }
    case .vocabulary(let content):
      let share = geometry.vocabulary.padded / geometry.size
      let own = (tp * share)..<((tp + 1) * share)
      return [
        BlockPair(content: 0, whole: .rows(own.clamped(to: 0..<content.shape[0]), of: content.shape), at: 0)
      ]
    }
  }

  /// Whether it is a bias of the vocabulary, and no table of vectors.
  var isVocabularyVector: Bool {
    if case .vocabulary(let content) = self { content.shape.count == 1 } else { false }
  }

  /// The shape of the parameter on each rank.
  func shape(_ geometry: TensorParallelism) -> [Int] {
    switch self {
    case .replicated(let content): return content.shape
    case .rows(let contents, _):
      return [contents.reduce(0) { $0 + $1.shape[0] } / geometry.size] + contents[0].shape.dropFirst()
    case .columns(let content, _): return [content.shape[0], content.shape[1] / geometry.size]
    case .groups(let query, let key, let value):
      let rows = [query, key, value].reduce(0) { $0 + $1.shape[0] }
      return [rows / geometry.size] + query.shape.dropFirst()
    case .vocabulary(let content):
      return [geometry.vocabulary.padded / geometry.size] + content.shape.dropFirst()
    }
  }

  /// What TP must divide.
  func units(keyValueHeads: Int) -> [Unit] {
    switch self {
    case .replicated, .vocabulary: []
    case .rows(_, let unit), .columns(_, let unit): [unit]
    case .groups: [Unit(name: "key-value heads", count: keyValueHeads)]
    }
  }
}

extension BlockPair {
  /// Whole rows, which are at row `start` of the part.
  init(content: Int, whole: Block, at start: Int) {
    self.init(
      content: content, whole: whole,
      part: Block(rows: start..<(start + whole.rows.count), columns: whole.columns))
  }
}

extension Block {
  /// Whole rows of a matrix or a vector.
  static func rows(_ rows: Range<Int>, of shape: [Int]) -> Block {
    Block(rows: rows, columns: 0..<(shape.count > 1 ? shape[1] : 1))
  }
}

/// The sizes that decide how tensor-parallel ranks share a parameter.
struct TensorParallelism: Sendable {
  /// Ranks.
  let size: Int
  let keyValueHeads: Int
  let vocabulary: PaddedVocabulary
}
