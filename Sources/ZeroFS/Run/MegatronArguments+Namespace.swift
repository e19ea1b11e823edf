extension MegatronArguments {
  /// The arguments of a run, from the Namespace that it saved: what a command line that says the same would give.
  package init(namespace: [(name: String, value: ArgumentValue)]) {
    self.init()
    let known = Set(namespace.map(\.name))
    for name in names where !known.contains(name) { remove(name) }
    for (name, value) in namespace { set(name, value) }
    // MDS computes the one from the other, and refuses a command line with both.
    if isTrue("train_samples") { set("train_iters", .none) }
  }
}
