import Foundation
import MegatronExtension
import Testing

/// The table of Sources/MegatronExtension/embed.c against the folder it embeds.
@Suite struct EmbeddedPackageTests {
  static let folder = URL(filePath: #filePath).deletingLastPathComponent()
    .appending(path: "../../../Sources/MegatronExtension/zerofs_megatron").standardizedFileURL

  static var embedded: [String: Data] {
    var count = 0
    let table = UnsafeBufferPointer(start: megatron_extension_files(&count), count: count)
    return Dictionary(
      uniqueKeysWithValues: table.map { (String(cString: $0.name), Data(bytes: $0.bytes, count: $0.count)) })
  }

  @Test func holdsEveryPythonFileOfTheFolder() throws {
    let files = try FileManager.default.subpathsOfDirectory(atPath: Self.folder.path)
      .filter { $0.hasSuffix(".py") }
    #expect(files.count > 20)
    #expect(Set(files) == Set(Self.embedded.keys))
    for file in files {
      #expect(try Self.embedded[file] == Data(contentsOf: Self.folder.appending(path: file)), "\(file)")
    }
  }
}
