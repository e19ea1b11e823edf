import Synchronization
import Testing

@testable import Bytes

/// What an expression costs: extents to plan, reads for a window.
@Suite struct ExtentCountTests {
  /// Has as many bytes as anybody asks for, and counts who does.
  private final class CountingSource: ByteSource {
    let lengths = Mutex<[Int]>([])
    var name: String { "counted" }
    var mapping: UnsafeRawBufferPointer? { nil }
    func verify() throws(ReadError) {}

    func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(ReadError) {
      lengths.withLock { $0.append(buffer.count) }
      for index in buffer.indices { buffer[index] = UInt8(truncatingIfNeeded: (offset + index) * 7) }
    }

    func tensor(_ shape: [Int], _ dtype: DType = .bfloat16, offset: Int = 0) -> TensorExpression {
      TensorExpression(source: self, offset: offset, shape: shape, dtype: dtype)
    }

    /// The lengths of the reads that `window` of the tensor's bytes takes.
    func reads(_ tensor: TensorExpression, _ window: Range<Int>) throws -> [Int] {
      lengths.withLock { $0 = [] }
      _ = try VirtualFile(tensor.extents).bytes(window)
      return lengths.withLock { $0 }
    }
  }

  // MARK: extents

  /// A column-parallel weight of eight ranks, each a source of its own, is one extent and stays one.
  @Test func columnsOfRanks() {
    let ranks = (0..<8).map { _ in CountingSource().tensor([4096, 512]) }
    let whole = TensorExpression.concatenatingColumns(ranks)
    #expect(whole.shape == [4096, 4096] && whole.elements.count == 1)
    #expect(whole.cast(to: .float32).elements.count == 1)
    #expect(whole.flattened().rows(100..<5_000_001).elements.count == 1)
    #expect(whole.columns(100..<3000).elements.count == 1)
    #expect(whole.rows(7..<4000).columns(100..<3000).rows(5..<900).elements.count == 1)
    #expect(whole.transposed().elements.count == 8)
    #expect(whole.transposed().transposed().elements.count == 1)
    for (rank, own) in ranks.enumerated() {
      let columns = whole.columns((rank * 512)..<((rank + 1) * 512))
      #expect(columns.elements.count == 1 && columns.extents[0].runs.count == 1)
      #expect(columns.extents[0].runs[0].source === own.extents[0].runs[0].source)
    }
  }

  /// Masters of a column-parallel weight that ZeRO cut mid-row, put together again.
  @Test func columnsOfPartitions() {
    let ranks = (0..<8).map { _ in
      TensorExpression.concatenating(
        [0..<700_001, 700_001..<1_400_003, 1_400_003..<(4096 * 512)].map { part in
          CountingSource().tensor([part.count], .float32)
        }
      ).reshaped([4096, 512])
    }
    let whole = TensorExpression.concatenatingColumns(ranks)
    #expect(whole.elements.count == 1 && whole.columns(5..<4000).elements.count == 1)
    // Of each rank three bands of many rows and two rows that are made of two partitions.
    #expect(whole.transposed().elements.count == 8)
  }

  /// What was cut from one tensor becomes one run again, whichever way it was cut.
  @Test func backwardOfForward() throws {
    let source = CountingSource()
    let tensor = source.tensor([12, 20], offset: 6)
    func run(_ tensor: TensorExpression) throws -> TensorRun {
      try #require(tensor.elements.count == 1)
      return try #require(tensor.extents[0].runs.first)
    }
    let blocks = [0..<3, 3..<4, 4..<12].flatMap { rows in
      [0..<7, 7..<8, 8..<20].map { Block(rows: rows, columns: $0) }
    }
    let cut = [
      TensorExpression.assembling([12, 20], blocks.map { ($0, tensor.block($0)) }, dtype: .bfloat16),
      .concatenating([0..<5, 5..<6, 6..<12].map { tensor.rows($0) }),
      TensorExpression.concatenating([0..<33, 33..<34, 34..<240].map { tensor.flattened().rows($0) })
        .reshaped([12, 20]),
      .concatenatingColumns([0..<5, 5..<6, 6..<20].map { tensor.columns($0) }),
      tensor.transposed().transposed(),
      TensorExpression.concatenating([0..<5, 5..<20].map { tensor.transposed().rows($0) }).transposed(),
    ]
    for (index, whole) in cut.enumerated() {
      let run = try run(whole)
      #expect(run.offset == 6 && run.window == 0..<240 && run.rows == 1 && run.elementStride == 1, "\(index)")
    }
    let columns = tensor.columns(3..<17)
    let again = try run(.concatenating([columns.rows(0..<5), columns.rows(5..<6), columns.rows(6..<12)]))
    #expect(again.rows == 12 && again.rowElements == 14 && again.rowStride == 20)
  }

  /// Rotary rows, even and odd alternating, as halves of each head, and back.
  @Test func rotaryHalves() throws {
    let (heads, d, h) = (32, 128, 64)
    let tensor = CountingSource().tensor([heads * d, h])
    let pairs = [0, 1].map {
      tensor.rows(from: $0, by: 2, count: heads * d / 2).reshaped([heads, d / 2 * h])
    }
    let halves = TensorExpression.concatenatingColumns(pairs).reshaped([heads * d, h])
    #expect(halves.elements.count == 1 && halves.extents[0].runs.count == 2)
    let perHead = halves.reshaped([heads, d * h])
    let parts = [0..<(d / 2 * h), (d / 2 * h)..<(d * h)].map {
      perHead.columns($0).reshaped([heads * d / 2, h])
    }
    let again = TensorExpression.concatenatingColumns(parts).reshaped([heads * d, h])
    #expect(again.elements.count == 1)
    #expect(try again.bytes() == tensor.bytes())
    #expect(try halves.rows(0..<2).bytes() == tensor.rows(0..<1).bytes() + tensor.rows(2..<3).bytes())
    #expect(try halves.rows(64..<66).bytes() == tensor.rows(1..<2).bytes() + tensor.rows(3..<4).bytes())
  }

  @Test func constants() throws {
    let ones = TensorExpression.filled(1, shape: [1 << 20, 1 << 20], dtype: .bfloat16)
    #expect(ones.elements.count == 1 && !ones.extents[0].isHole)
    #expect(
      try VirtualFile(ones.extents).bytes((1 << 40)..<((1 << 40) + 5)) == [0x80, 0x3F, 0x80, 0x3F, 0x80])
    #expect(TensorExpression.filled(0, shape: [1 << 20], dtype: .float32).extents[0].isHole)
    #expect(!TensorExpression.filled(-0.0, shape: [1 << 20], dtype: .float32).extents[0].isHole)
    #expect(TensorExpression.zeros([1 << 20], .float32).scaled(by: 3).extents[0].isHole)
    let shifted = TensorExpression.zeros([1 << 20], .float32).adding(1)
    #expect(try VirtualFile(shifted.extents).bytes(0..<4) == [0, 0, 0x80, 0x3F])
  }

  // MARK: reads

  /// Of each row of the source one read takes what a window has of it.
  @Test func transposedWindows() throws {
    let source = CountingSource()
    let tensor = source.tensor([64, 1000]).transposed()
    #expect(try source.reads(tensor, (3 * 128)..<(7 * 128)) == [Int](repeating: 4 * 2, count: 64))
    // Mid-row, mid-element: from element 10 of row 3 to element 20 of row 7.
    let lengths = try source.reads(tensor, (3 * 128 + 21)..<(7 * 128 + 41))
    #expect(lengths.count == 64 && lengths.reduce(0, +) == 2 * ((7 * 64 + 21) - (3 * 64 + 10)))
    #expect(try source.reads(tensor.cast(to: .float32), (3 * 256)..<(7 * 256)).count == 64)
    let all = try source.reads(source.tensor([3, 100_000]).transposed(), 0..<600_000)
    #expect(all.reduce(0, +) == 600_000 && all.allSatisfy { $0 <= 64 << 10 }, "tiles that bound memory")
  }

  /// Also where it is one of several side by side.
  @Test func transposedChildren() throws {
    let source = CountingSource()
    let tensor = TensorExpression.concatenating([source.tensor([64, 1000]), source.tensor([32, 1000])])
    let whole = TensorExpression.concatenating([tensor, CountingSource().tensor([7, 1000])]).transposed()
    #expect(whole.shape == [1000, 103])
    #expect(try source.reads(whole, (206 * 3)..<(206 * 7)) == [Int](repeating: 8, count: 96))
  }

  /// Elements that alternate are read many at a time.
  @Test func narrowChildren() throws {
    let source = CountingSource()
    let tensor = source.tensor([8192], .float32)
    let pairs = TensorExpression.concatenatingColumns(
      [tensor.rows(0..<4096), tensor.rows(4096..<8192)].map { $0.reshaped([4096, 1]) })
    #expect(try source.reads(pairs, 0..<32768).count == 2)
    #expect(try source.reads(tensor.rows(from: 1, by: 2, count: 4096), 0..<16384).count <= 2)
  }

  /// Strided rows of some KiB are read one by one, without the gaps.
  @Test func stridedRows() throws {
    let source = CountingSource()
    let tensor = source.tensor([100, 4096]).columns(1024..<2048)
    #expect(try source.reads(tensor, 0..<(50 * 2048)) == [Int](repeating: 2048, count: 50))
  }
}
