import ArgumentParser

/// What mount(8), fstab(5) and users of other FUSE file systems write: the options of `zerofs mount` behind `-o`.
enum MountInvocation {
  /// The arguments of `zerofs`, with those options as its own: `-o tp=2,allow_other` is `--tp 2 -o allow_other`.
  ///
  /// `mount -t fuse.zerofs` starts `zerofs SOURCE MOUNTPOINT -o OPTIONS` (libfuse, util/mount.fuse.c: main).
  static func arguments(_ given: [String]) -> [String] {
    var arguments = given[...]
    let isOfMountFuse = given.count == 4 && given[2] == "-o" && !given[0].hasPrefix("-")
    if isOfMountFuse && !Zerofs.subcommandNames.contains(given[0]) { arguments.insert("mount", at: 0) }
    guard arguments.first == "mount" else { return given }
    var result: [String] = []
    while let argument = arguments.popFirst() {
      guard argument == "-o", let list = arguments.popFirst() else {
        result.append(argument)
        continue
      }
      var others: [Substring] = []
      for word in list.split(separator: ",") {
        let name = "--" + word.prefix { $0 != "=" }.replacing("_", with: "-")
        guard options.contains(name) else {
          others.append(word)
          continue
        }
        result.append(name)
        if let value = word.firstIndex(of: "=") { result.append(String(word[word.index(after: value)...])) }
      }
      if !others.isEmpty { result += ["-o", others.joined(separator: ",")] }
    }
    return result
  }

  /// `--tp`, as its help has them.
  private static let options: Set<String> = {
    let lines = MountCommand.helpMessage(columns: 1000).split(separator: "\n").filter { $0.hasPrefix("  -") }
    let words = lines.flatMap {
      $0.split(whereSeparator: { " ,/".contains($0) }).prefix { $0.hasPrefix("-") || $0.hasPrefix("<") }
    }
    return Set(words.filter { $0.hasPrefix("--") }.map(String.init))
  }()
}
