import Bytes

/// Files whose names differ in numbers alone, as one line of a report.
struct FoldedFiles {
  /// The names, each number that differs as its first and last value: `layer_02…81-model_00…07-model_states.pt`.
  let text: String
  /// `1.2 GB`, or `2.4 MB to 1.2 GB` of each.
  let size: String

  /// One line for each kind, in the order of the first file of a kind.
  static func fold(_ files: [(path: String, size: Int)]) -> [FoldedFiles] {
    var order: [[Substring]] = []
    var kinds: [[Substring]: [(numbers: [Substring], size: Int)]] = [:]
    for file in files {
      let (words, numbers) = split(file.path)
      if kinds[words] == nil { order.append(words) }
      kinds[words, default: []].append((numbers, file.size))
    }
    return order.map { words in FoldedFiles(words, kinds[words] ?? []) }
  }

  private init(_ words: [Substring], _ files: [(numbers: [Substring], size: Int)]) {
    var text = String(words[0])
    for (position, word) in words.dropFirst().enumerated() {
      let numbers = files.map { $0.numbers[position] }.sorted { ($0.count, $0) < ($1.count, $1) }
      if let first = numbers.first, let last = numbers.last {
        text += first == last ? String(first) : "\(first)…\(last)"
      }
      text += word
    }
    self.text = files.count == 1 ? text : "\(text)  (\(files.count) files)"
    let sizes = files.map(\.size)
    let (least, most) = (sizes.min() ?? 0, sizes.max() ?? 0)
    size = least == most ? most.bytesText : "\(least.bytesText) to \(most.bytesText)"
  }

  /// `a1b22c` → `a`, `b`, `c` and `1`, `22`.
  private static func split(_ path: String) -> (words: [Substring], numbers: [Substring]) {
    var (words, numbers): ([Substring], [Substring]) = ([], [])
    var rest = path[...]
    func next(_ isPart: (UInt8) -> Bool) -> Substring {
      let part = rest[..<(rest.utf8.firstIndex { !isPart($0) } ?? rest.endIndex)]
      rest = rest[part.endIndex...]
      return part
    }
    func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
    repeat {
      words.append(next { !isDigit($0) })
      if !rest.isEmpty { numbers.append(next(isDigit)) }
    } while !rest.isEmpty
    if words.count == numbers.count { words.append("") }
    return (words, numbers)
  }
}
