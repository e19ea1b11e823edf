import Bytes

/// A layout in the name of a directory: words of `OptionField.all` joined by `-`, in any order, each option at most once.
///
/// N is decimal, without leading zeros. What isn't spelled is as on the command line. A word that is not in the table, or two
/// words for one option, and the name means no layout at all; whether a layout can be served is for the planner to say.
package struct LayoutName: Sendable, Equatable, CustomStringConvertible {
  /// What is spelled.
  package let options: CheckpointOptions

  /// What `name` spells; `nil` if it isn't the name of a layout.
  package init?(_ name: String) {
    var options = CheckpointOptions()
    var taken: Set<String> = []
    for word in name.split(separator: "-", omittingEmptySubsequences: false) {
      let meaning = OptionField.all.lazy.compactMap { field in
        field.words?.take(word).map { (field.flag, $0) }
      }.first
      guard let (flag, set) = meaning, taken.insert(flag).inserted else { return nil }
      set(&options)
    }
    self.options = options
  }

  /// The name that spells all of `options` that have words.
  init(_ options: CheckpointOptions) { self.options = options }

  /// That of a Hugging Face directory, whose weights are as stored or in `dtype`.
  static func huggingFace(_ dtype: DType? = nil) -> LayoutName {
    var options = CheckpointOptions()
    options.view = .hf
    options.dtype = CheckpointOptions.Precision.allCases.first { $0.dtype == dtype }
    return LayoutName(options)
  }

  /// The words in the order of the table.
  package var description: String {
    OptionField.all.compactMap { $0.words?.spelled(options) }.joined(separator: "-")
  }
}
