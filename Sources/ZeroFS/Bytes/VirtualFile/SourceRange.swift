/// Bytes of a source file.
package struct SourceRange: Sendable {
  package let file: SourceFile
  package let bytes: Range<Int>

  package init(_ file: SourceFile, _ bytes: Range<Int>) { (self.file, self.bytes) = (file, bytes) }
}

extension VirtualFile {
  /// Where the bytes of `window` come from, in its order. Wide where elements lie apart: what is between them is in a range, too, if
  /// it is less than `maxGap`; other ranks of a node need it.
  package func sourceRanges(of window: Range<Int>) -> [SourceRange] {
    var ranges: [SourceRange] = []
    forEachExtent(in: window) { extent, bytes in
      switch extent {
      case .literal, .zeros, .checksum: break
      case .tensor(let run): ranges += run.sourceRanges(of: bytes)
      case .interleaved(let interleaved): ranges += interleaved.sourceRanges(of: bytes)
      }
    }
    return ranges
  }

  /// Whether what `window` needs is in the page cache; false where it can't be told, or is in very many places.
  package func isResident(_ window: Range<Int>) -> Bool {
    let ranges = sourceRanges(of: window)
    return ranges.count <= VirtualFile.maxLookedAt && ranges.allSatisfy { $0.file.isResident($0.bytes) }
  }

  private static let maxLookedAt = 256
}

extension TensorRun {
  /// Bytes between two lines of elements that are read with them.
  private static let maxGap = 1 << 20

  /// - Parameter bytes: of what the run is cast to.
  fileprivate func sourceRanges(of bytes: Range<Int>) -> [SourceRange] {
    let (from, to) = (cast.source.size, cast.target.size)
    let lower = window.lowerBound + bytes.lowerBound / to
    let upper = window.lowerBound + (bytes.upperBound + to - 1) / to
    let rows = (lower / rowElements)..<((upper - 1) / rowElements + 1)
    let first = rows.lowerBound * rowElements
    let columns = rows.count == 1 ? (lower - first)..<(upper - first) : 0..<rowElements
    let byRow = (range: rows, stride: rowStride)
    let byColumn = (range: columns, stride: elementStride)
    let (outer, inner) = rowStride >= elementStride ? (byRow, byColumn) : (byColumn, byRow)
    let line = ((inner.range.count - 1) * inner.stride + 1) * from
    let start = offset + inner.range.lowerBound * inner.stride * from
    guard outer.stride * from - line > TensorRun.maxGap else {
      let first = start + outer.range.lowerBound * outer.stride * from
      return source.sourceRanges(of: first..<(first + (outer.range.count - 1) * outer.stride * from + line))
    }
    return outer.range.flatMap { index in
      let first = start + index * outer.stride * from
      return source.sourceRanges(of: first..<(first + line))
    }
  }
}

extension Interleaved {
  /// Of the whole rows that `bytes` reaches into.
  fileprivate func sourceRanges(of bytes: Range<Int>) -> [SourceRange] {
    let size = dtype.size
    let lower = window.lowerBound + bytes.lowerBound / size
    let upper = window.lowerBound + (bytes.upperBound + size - 1) / size
    let rows = (lower / rowElements)..<((upper - 1) / rowElements + 1)
    var ranges: [SourceRange] = []
    for child in children {
      let width = child.width * size
      child.forEachExtent(in: (rows.lowerBound * width)..<(rows.upperBound * width), unit: size) {
        extent, part in
        switch extent {
        case .zeros: break
        case .run(let run): ranges += run.sourceRanges(of: part)
        case .interleaved(let nested): ranges += nested.sourceRanges(of: part)
        }
      }
    }
    return ranges
  }
}
