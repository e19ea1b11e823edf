/// What is wrong with a file of a tree.
package struct Finding: Sendable, CustomStringConvertible {
  /// Relative to the tree.
  package let path: String
  /// A Python path, such as `module.weight`; `nil` where it isn't about a tensor.
  package let tensor: String?
  package let what: String

  init(_ path: String, tensor: String? = nil, _ what: String) {
    (self.path, self.tensor, self.what) = (path, tensor, what)
  }

  package var description: String { "\(path): \(tensor.map { "\($0): " } ?? "")\(what)" }

  /// Tensors in a line: all of a few, the first of many. `nil` for none.
  static func some(_ tensors: [String]) -> String? {
    guard let first = tensors.first else { return nil }
    return tensors.count > 3 ? "\(tensors.count) tensors from \(first)" : tensors.joined(separator: ", ")
  }
}
