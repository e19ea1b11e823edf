import Glibc
import Synchronization
import Testing

@testable import Bytes
@testable import Mount

@Suite struct LayoutInodesTests {
  /// Numbers are names; the directory of n holds n files. Odd ones are refused.
  private let trees = LayoutResolver { name in
    guard let number = Int(name) else { return .unknown }
    if !number.isMultiple(of: 2) { return .refused(reason: "odd") }
    let entries = (0..<number).map { index in
      FileTree.Entry("global_step0/file\(index)") { VirtualFile("\(number) \(index)") }
    }
    return .tree(
      canonicalName: "n\(number)",
      FileTree([FileTree.Entry("latest") { VirtualFile("x") }] + entries, modified: timespec())
    )
  }
  /// Names that resolve again as canonical ones do.
  private var canonical: LayoutResolver {
    let trees = trees
    return LayoutResolver { trees.resolve($0.hasPrefix("n") ? String($0.dropFirst()) : $0) }
  }

  private func found(_ answer: LayoutInodes.Answer) -> Inode? {
    if case .inode(let inode) = answer { inode } else { nil }
  }

  @Test func namesOfOneTreeAreOneDirectory() throws {
    let layouts = LayoutInodes(canonical)
    let first = try #require(found(layouts.lookup("4")))
    #expect(found(layouts.lookup("04"))?.number == first.number)
    #expect(found(layouts.lookup("6"))?.number != first.number)
    #expect(layouts.held().map(\.name) == ["04", "6"])
    #expect(first.parent == InodeTable.rootNumber && first.number > 1 << 24 && Int64(first.number) > 0)
    guard case .refused("odd") = layouts.lookup("3"), case .unknown = layouts.lookup("x") else {
      Issue.record("neither is a directory")
      return
    }
  }

  @Test func forgottenWithTheLastLookup() throws {
    let layouts = LayoutInodes(canonical)
    let directory = try #require(found(layouts.lookup("4")))
    _ = layouts.lookup("4")
    let step = try #require(layouts.lookup(Array("global_step0".utf8), in: directory.number))
    layouts.forget(directory.number, 2)
    // A file is held still: so is the layout.
    #expect(layouts.held().count == 1 && layouts[step.number] != nil)
    layouts.forget(step.number, 1)
    #expect(layouts.held().isEmpty && layouts.composed == 0 && layouts[step.number] == nil)
    // More than was looked up does no harm.
    layouts.forget(step.number, 1)
    #expect(found(layouts.lookup("4"))?.number == directory.number)
    #expect(layouts.lookup(Array("global_step0".utf8), in: directory.number)?.number == step.number)
  }

  @Test func forgottenNumbersAreFoundAgain() throws {
    let layouts = LayoutInodes(canonical, bounds: .init(names: 4))
    let directory = try #require(found(layouts.lookup("4")))
    let step = try #require(layouts.lookup(Array("global_step0".utf8), in: directory.number))
    layouts.forget(directory.number, 1)
    layouts.forget(step.number, 1)
    #expect(layouts.held().isEmpty)
    #expect(layouts.lookup(number: step.number)?.name == "global_step0")
    #expect(layouts.held().map(\.name) == ["n4"] && layouts[directory.number] != nil)
    layouts.forget(step.number, 1)
    #expect(layouts.held().isEmpty && layouts.composed == 0)
    #expect(layouts.lookup(number: step.number + 1000) == nil && layouts.held().isEmpty)
    // Too long ago.
    for number in stride(from: 6, to: 18, by: 2) {
      layouts.forget(try #require(found(layouts.lookup("\(number)"))).number, 1)
    }
    #expect(layouts.lookup(number: step.number) == nil)
  }

  @Test func evictedTreesComeBackEqual() throws {
    let layouts = LayoutInodes(canonical, bounds: .init(trees: 2, inodes: 40))
    let directory = try #require(found(layouts.lookup("4")))
    let step = try #require(layouts.lookup(Array("global_step0".utf8), in: directory.number))
    let file = try #require(layouts.lookup(Array("file3".utf8), in: step.number))
    for number in stride(from: 6, to: 40, by: 2) { _ = layouts.lookup("\(number)") }
    #expect(layouts.composed <= 2 && layouts.held().count == 18)
    let again = try #require(layouts[file.number])
    #expect(again !== file && again.name == "file3" && again.measure()?.size == file.measure()?.size)
    #expect(layouts.lookup(Array("file3".utf8), in: step.number)?.number == file.number)
    // One that is larger than the bound is kept as long as it is the last.
    _ = layouts.lookup("100")
    #expect(layouts.composed == 1)
  }

  @Test func equalPrefixesAreNoticed() throws {
    let layouts = LayoutInodes(canonical) { _ in 7 }
    #expect(found(layouts.lookup("4"))?.number == 7 << 24)
    guard case .taken(by: "4") = layouts.lookup("6") else {
      Issue.record("two layouts with equal numbers")
      return
    }
    layouts.forget(7 << 24, 1)
    #expect(found(layouts.lookup("6"))?.number == 7 << 24)
  }

  @Test func theRootListsWhatIsHeld() throws {
    let root = FileTree(
      ["a", "b/c"].map { path in FileTree.Entry(path) { VirtualFile("x") } }, modified: timespec())
    let mounted = try Superblock(root, layouts: canonical)
    func lookup(_ name: String) -> Inode? {
      if case .inode(let inode) = mounted.lookup(Array(name.utf8), in: 1) { inode } else { nil }
    }
    func names(from offset: Int = 0) -> [String] {
      mounted.root.lookup(Array("b".utf8), in: 1).map { _ in
        mounted[1].map { mounted.entries(of: $0, from: offset, limit: 100).map(\.name) } ?? []
      } ?? []
    }
    #expect(names() == [".", "..", "a", "b"])
    let four = try #require(lookup("4"))
    _ = lookup("6")
    #expect(names() == [".", "..", "a", "b", "4", "6"])
    mounted.forget(four.number, 1)
    _ = lookup("8")
    // Behind "4", which has gone meanwhile.
    #expect(names(from: 5) == ["6", "8"])
    #expect(lookup(".zerofs") != nil && !names().contains(".zerofs"))
    // The root's own names come first and are never forgotten.
    #expect(lookup("a")?.number == 2)
    mounted.forget(2, 100)
    #expect(mounted[2] != nil)
  }

  /// The root, `b` and three files.
  @Test(arguments: [(2, 3), (3, 5), (4, 5), (5, nil)])
  func aTreeOfTooManyFilesIsRefused(allowed: Int, counted: Int?) throws {
    let tree = FileTree(
      ["a", "b/c", "b/d"].map { path in FileTree.Entry(path) { VirtualFile("x") } }, modified: timespec())
    let error = counted.map { MountError.tooManyFiles(count: $0, allowed: allowed) }
    do throws(MountError) {
      _ = try Superblock(tree, maxCount: allowed)
      #expect(error == nil)
    } catch let thrown {
      #expect(thrown == error && thrown.exitStatus == .layout)
    }
  }
}
