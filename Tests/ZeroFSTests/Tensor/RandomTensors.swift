@testable import Bytes

/// Random expressions, each with the array that it stands for and the code that makes it.
struct RandomTensors {
  typealias Pair = (tensor: TensorExpression, dense: DenseTensor)

  var generator: SeededGenerator
  private(set) var code: [String] = []
  private var names = 0

  init(seed: UInt64) { generator = SeededGenerator(seed: seed) }

  private mutating func int(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &generator) }

  /// Mostly most of them, so that something is left after some operations.
  private mutating func range(_ count: Int) -> Range<Int> {
    if int(0...7) == 0 {
      let lower = int(0...count)
      return lower..<int(lower...count)
    }
    return int(0...(count / 4))..<int((count - count / 4)...count)
  }

  private mutating func cuts(_ count: Int, _ parts: Int) -> [Range<Int>] {
    let ends = ([0, count] + (1..<max(parts, 1)).map { _ in int(0...count) }).sorted()
    return zip(ends, ends.dropFirst()).map { $0..<$1 }
  }

  private mutating func note(_ text: String, _ pair: Pair) -> Pair {
    code.append("\(text)  // \(pair.dense.shape) \(pair.dense.dtype)")
    return pair
  }

  // MARK: leaves

  /// Of numbers with many divisors.
  private mutating func shape() -> [Int] {
    let sizes = [1, 2, 3, 4, 6, 8, 12]
    func size(_ random: inout RandomTensors) -> Int { sizes[random.int(0...(sizes.count - 1))] }
    return switch int(0...9) {
    case 0: [int(0...40)]
    case 1: [int(1...4), int(1...4), int(1...4)]
    default: [size(&self), size(&self) * int(1...2)]
    }
  }

  private mutating func element(_ dtype: DType) -> UInt64 {
    guard dtype.isFloatingPoint else {
      return generator.next() & (dtype.size == 8 ? .max : 1 << UInt64(8 * dtype.size) - 1)
    }
    let value = int(0...9) == 0 ? 0 : Double.random(in: -100...100, using: &generator)
    return dtype == .float64 ? value.bitPattern : DenseTensor.bits(Float(value), dtype)
  }

  mutating func leaf(_ shape: [Int], _ dtype: DType) -> Pair {
    let count = shape.reduce(1, *)
    switch int(0...11) {
    case 0:
      let dense = DenseTensor(shape: shape, dtype: dtype, [UInt64](repeating: 0, count: count))
      return note("zeros(\(shape), \(dtype))", (.zeros(shape, dtype), dense))
    case 1 where dtype.isFloatingPoint && dtype != .float64:
      let value = [1, -0.0, 0.1, 3][int(0...3)] as Float
      let bits = [UInt64](repeating: DenseTensor.bits(value, dtype), count: count)
      return note(
        "filled(\(value), \(shape), \(dtype))",
        (.filled(value, shape: shape, dtype: dtype), DenseTensor(shape: shape, dtype: dtype, bits)))
    case 2 where shape.count == 2:
      let row = (0..<shape[1]).map { _ in element(dtype) }
      let source = MemorySource(DenseTensor(shape: [shape[1]], dtype: dtype, row).bytes)
      return note(
        "repeatingRow(rows: \(shape[0]), cols: \(shape[1]), \(dtype))",
        (
          .repeatingRow(of: source, rows: shape[0], cols: shape[1], dtype: dtype),
          DenseTensor(shape: shape, dtype: dtype, (0..<shape[0]).flatMap { _ in row })
        ))
    default:
      let dense = DenseTensor(shape: shape, dtype: dtype, (0..<count).map { _ in element(dtype) })
      let offset = int(0...5)
      let source = MemorySource(
        [UInt8](repeating: 0xAA, count: offset) + dense.bytes, isMapped: Bool.random(using: &generator))
      return note(
        "source(offset: \(offset), \(shape), \(dtype))",
        (TensorExpression(source: source, offset: offset, shape: shape, dtype: dtype), dense))
    }
  }

  // MARK: operations

  mutating func tensor(depth: Int) -> Pair {
    let dtype = DType.allCases[int(0...(DType.allCases.count - 1))]
    return tensor(depth: depth, shape(), Bool.random(using: &generator) ? .bfloat16 : dtype)
  }

  /// Of `shape` and `dtype` before the operations change it.
  private mutating func tensor(depth: Int, _ shape: [Int], _ dtype: DType) -> Pair {
    var pair = leaf(shape, dtype)
    for _ in 0..<depth { pair = operated(pair) }
    return pair
  }

  /// With two dimensions, often others than before: rows of a part of a row, or of several.
  private mutating func matrix(_ pair: Pair) -> Pair {
    let count = pair.dense.elements.count
    if pair.dense.shape.count == 2 && int(0...2) == 0 { return pair }
    let divisors = (1...max(count, 1)).filter { max(count, 1).isMultiple(of: $0) }
    let cols = pair.dense.shape.last ?? 1
    let related = divisors.filter { $0.isMultiple(of: cols) || cols.isMultiple(of: $0) }
    let choice = related.isEmpty || int(0...2) == 0 ? divisors : related
    let width = choice[int(0...(choice.count - 1))]
    let shape = count == 0 ? [0, 3] : [count / width, width]
    return note(".reshaped(\(shape))", (pair.tensor.reshaped(shape), pair.dense.reshaped(shape)))
  }

  private mutating func operated(_ pair: Pair) -> Pair {
    switch int(0...13) {
    case 0:
      let range = range(pair.dense.shape[0])
      return note(".rows(\(range))", (pair.tensor.rows(range), pair.dense.rows(Array(range))))
    case 1: return strided(int(0...1) == 0 ? matrix(pair) : pair)
    case 2, 10:
      let pair = matrix(pair)
      let range = range(pair.dense.shape[1])
      return note(".columns(\(range))", (pair.tensor.columns(range), pair.dense.columns(range)))
    case 3, 11:
      let pair = matrix(pair)
      return note(".transposed()", (pair.tensor.transposed(), pair.dense.transposed()))
    case 4: return matrix(pair)
    case 5: return concatenated(pair)
    case 6:
      let count = pair.dense.shape[0] + int(0...3)
      let padding = DenseTensor(
        shape: [count - pair.dense.shape[0]] + pair.dense.shape.dropFirst(), dtype: pair.dense.dtype,
        [UInt64](
          repeating: 0,
          count: (count - pair.dense.shape[0]) * pair.dense.shape.dropFirst().reduce(1, *)))
      return note(
        ".paddingRows(to: \(count))",
        (pair.tensor.paddingRows(to: count), .concatenating([pair.dense, padding])))
    case 7: return assembled(pair)
    case 8: return shuffled(matrix(pair))
    case 9: return widened(matrix(pair))
    default: return mapped(pair)
    }
  }

  private mutating func strided(_ pair: Pair) -> Pair {
    let rows = pair.dense.shape[0]
    if rows == 0 { return pair }
    let (start, step) = (int(0...(rows - 1)), int(1...4))
    let count = int(0...((rows - 1 - start) / step + 1))
    return note(
      ".rows(from: \(start), by: \(step), count: \(count))",
      (
        pair.tensor.rows(from: start, by: step, count: count),
        pair.dense.rows((0..<count).map { start + $0 * step })
      ))
  }

  /// With another, or with parts of itself in another order.
  private mutating func concatenated(_ pair: Pair) -> Pair {
    var parts: [Pair] = cuts(pair.dense.shape[0], int(1...3)).map {
      (pair.tensor.rows($0), pair.dense.rows(Array($0)))
    }
    if int(0...1) == 0 { parts.shuffle(using: &generator) }
    let ranges = parts.map(\.dense.shape[0])
    if int(0...1) == 0 {
      let other = tensor(depth: 1, [int(0...3)] + pair.dense.shape.dropFirst(), pair.dense.dtype)
      if other.dense.shape.dropFirst() == pair.dense.shape.dropFirst(), other.dense.dtype == pair.dense.dtype
      {
        parts.insert(other, at: int(0...parts.count))
      }
    }
    return note(
      ".concatenating(parts of \(ranges) rows, \(parts.map(\.dense.shape)))",
      (.concatenating(parts.map(\.tensor)), .concatenating(parts.map(\.dense))))
  }

  /// Blocks in the places of others of the same size, or nowhere.
  private mutating func assembled(_ pair: Pair) -> Pair {
    let shape = pair.dense.shape
    let pair: Pair =
      shape.count == 1
      ? pair
      : (
        pair.tensor.reshaped([shape[0], shape.dropFirst().reduce(1, *)]),
        pair.dense.reshaped([shape[0], shape.dropFirst().reduce(1, *)])
      )
    let cols = shape.dropFirst().reduce(1, *)
    var pieces: [(block: Block, tensor: TensorExpression)] = []
    var dense: [(Block, DenseTensor)] = []
    for rows in cuts(shape[0], int(1...3)) {
      for columns in shape.count == 1 ? [0..<1] : cuts(cols, int(1...3)) where int(0...5) > 0 {
        let block = Block(rows: rows, columns: columns)
        pieces.append((block, pair.tensor.block(block)))
        let picked = pair.dense.rows(Array(rows))
        dense.append((block, shape.count == 1 ? picked : picked.columns(columns)))
      }
    }
    pieces.shuffle(using: &generator)
    return note(
      ".assembling(\(shape), blocks \(pieces.map { "\($0.block.rows)x\($0.block.columns)" }))",
      (
        .assembling(shape, pieces, dtype: pair.dense.dtype),
        .assembling(shape, dense, dtype: pair.dense.dtype)
      ))
  }

  /// Columns in another order.
  private mutating func shuffled(_ pair: Pair) -> Pair {
    var parts = cuts(pair.dense.shape[1], int(1...4))
    if int(0...1) == 0 { parts.shuffle(using: &generator) }
    return note(
      ".concatenatingColumns(columns \(parts))",
      (
        .concatenatingColumns(parts.map { pair.tensor.columns($0) }),
        .concatenatingColumns(parts.map { pair.dense.columns($0) })
      ))
  }

  /// Another matrix beside it.
  private mutating func widened(_ pair: Pair) -> Pair {
    let rows = pair.dense.shape[0]
    let other = tensor(depth: int(0...2), [rows, int(0...5)], pair.dense.dtype)
    guard other.dense.shape.count == 2, other.dense.shape[0] == rows, other.dense.dtype == pair.dense.dtype
    else { return pair }
    let isFirst = Bool.random(using: &generator)
    let pairs = isFirst ? [other, pair] : [pair, other]
    return note(
      ".concatenatingColumns(\(pairs.map(\.dense.shape)))",
      (.concatenatingColumns(pairs.map(\.tensor)), .concatenatingColumns(pairs.map(\.dense))))
  }

  private mutating func mapped(_ pair: Pair) -> Pair {
    guard pair.dense.dtype.isFloatingPoint else { return pair }
    if int(0...1) == 0 || pair.dense.dtype == .float64 {
      let dtype = [DType.float32, .bfloat16, .float16][int(0...2)]
      return note(".cast(to: \(dtype))", (pair.tensor.cast(to: dtype), pair.dense.cast(to: dtype)))
    }
    let scale = [1, -1, 0.1, 0.5][int(0...3)] as Float
    let offset = [nil, 1, 0, 0.3][int(0...3)] as Float?
    return note(
      ".scaled(by: \(scale), adding: \(offset.map { "\($0)" } ?? "nil"))",
      (pair.tensor.scaled(by: scale, adding: offset), pair.dense.scaled(by: scale, adding: offset)))
  }
}
