/// A variable of bash's: a text, an array, or texts by name.
struct ShellVariable: Equatable, Sendable {
  enum Kind: Sendable { case scalar, array, map }
  var kind = Kind.scalar
  /// A scalar has one.
  var elements: [String]
  /// Of a map: where each name's element is.
  var places: [String: Int] = [:]
  var isExported = false

  init(_ text: String, isExported: Bool = false) {
    elements = [text]
    self.isExported = isExported
  }

  init(kind: Kind, elements: [String] = []) {
    self.kind = kind
    self.elements = elements
  }

  subscript(key: String) -> String? { places[key].map { elements[$0] } }

  mutating func set(_ text: String, at key: String) {
    if let place = places[key] {
      elements[place] = text
    } else {
      places[key] = elements.count
      elements.append(text)
    }
  }
}

/// A command that the script starts.
struct ShellLaunch: Equatable, Sendable {
  var words: [String]
  var line: Int
}

/// What one evaluation finds and may spend, in all branches together.
final class ShellRecord {
  private(set) var launches: [ShellLaunch] = []
  /// Defaults taken for variables that nobody sets: their names and lines.
  private(set) var defaults: [(name: String, line: Int)] = []
  /// Lines with `$@` or its like where no arguments were given.
  private(set) var emptyArguments: [Int] = []
  /// Files of software environments that were passed over.
  private(set) var passed: [(file: String, line: Int)] = []
  /// Files that programs may have changed.
  var touched: Set<String> = []
  private var seen: Set<[String]> = []
  private var defaultNames: Set<String> = []
  private var steps = 0
  private var bytes = 0

  /// Commands: launch scripts run some hundred, and this many take a fraction of a second.
  static let maxSteps = 10_000
  static let maxBytes = 64 << 20
  static let maxText = 4 << 20

  func launch(_ words: [String], line: Int) {
    if seen.insert(words).inserted { launches.append(ShellLaunch(words: words, line: line)) }
  }

  func takesDefault(_ name: String, line: Int) {
    if defaultNames.insert(name).inserted { defaults.append((name, line)) }
  }

  func hasNoArguments(line: Int) {
    if !emptyArguments.contains(line) { emptyArguments.append(line) }
  }

  func passes(_ file: String, line: Int) {
    if !passed.contains(where: { $0.file == file }) { passed.append((file, line)) }
  }

  func step(_ line: Int) throws(ShellError) {
    steps += 1
    if steps > Self.maxSteps { throw .tooLong(line) }
  }

  func spend(_ count: Int, _ line: Int) throws(ShellError) {
    bytes += count
    if count > Self.maxText || bytes > Self.maxBytes { throw .tooLong(line) }
  }
}
