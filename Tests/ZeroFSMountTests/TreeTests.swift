import Bytes
import Foundation
import Testing

@testable import MountFixture

@Suite struct TreeTests {
  @Test func attributesOfFiles() throws {
    let scratch = try mounted()
    for entry in try scratch.tree().entries {
      let file = entry.file()
      let status = try #require(attributes(scratch.path(entry.path)))
      #expect(status.st_size == file.count, "\(entry.path)")
      #expect(status.st_blocks == (file.dataBytes + 511) / 512, "\(entry.path)")
      #expect(status.st_mode == S_IFREG | (entry.isExecutable ? 0o555 : 0o444), "\(entry.path)")
      #expect(status.st_blksize == 128 << 10 && status.st_nlink == 1 && status.st_uid == getuid())
      #expect(status.st_mtim.tv_sec == 1_700_000_000 && status.st_mtim.tv_nsec == 123_456_789)
    }
    let root = try #require(attributes(scratch.point))
    #expect(root.st_mode == S_IFDIR | 0o555 && root.st_nlink == 4 && root.st_ino == 1)
    #expect(attributes(scratch.path("sub"))?.st_nlink == 3)
    #expect(attributes(scratch.path("sub/absent")) == nil && errno == ENOENT)
  }

  @Test func holes() throws {
    let scratch = try mounted()
    let descriptor = open(scratch.path("sub/dir/sparse.pt"), O_RDONLY)
    defer { close(descriptor) }
    // head, 1 MiB hole, 100,000 bytes, 101 bytes with zeros too few for a hole, 3 MiB hole.
    let (data, hole) = (Int32(3), Int32(4))
    let end = 4 + (1 << 20) + 100_101
    #expect(lseek(descriptor, 0, data) == 0)
    #expect(lseek(descriptor, 0, hole) == 4)
    #expect(lseek(descriptor, 4, data) == 4 + (1 << 20))
    #expect(lseek(descriptor, 4 + (1 << 20), hole) == end)
    #expect(lseek(descriptor, end, data) == -1 && errno == ENXIO)
    #expect(lseek(descriptor, end + (3 << 20), hole) == -1 && errno == ENXIO)
  }

  @Test func manyEntries() throws {
    let scratch = try mounted("--files", "4000")
    let names = try FileManager.default.contentsOfDirectory(atPath: scratch.path("many"))
    #expect(Set(names) == Set((0..<4000).map { "file_\($0)" }) && names.count == 4000)
    let listed = try run(URL(fileURLWithPath: "/bin/ls"), ["-lR", scratch.point])
    #expect(listed.output.split(separator: "\n").count > 4000)
  }

  @Test func nothingCanBeWritten() throws {
    let scratch = try mounted()
    let file = scratch.path("cast.pt")
    #expect(open(file, O_WRONLY) == -1 && errno == EROFS)
    #expect(open(file, O_RDWR) == -1 && errno == EROFS)
    #expect(open(scratch.path("new"), O_CREAT | O_WRONLY, 0o600) == -1 && errno == EROFS)
    #expect(unlink(file) == -1 && errno == EROFS)
    #expect(mkdir(scratch.path("new"), 0o700) == -1 && errno == EROFS)
    #expect(rename(file, file + "2") == -1 && errno == EROFS)
    #expect(truncate(file, 0) == -1 && errno == EROFS)
    #expect(chmod(file, 0o777) == -1 && errno == EROFS)
  }

  @Test func fileSystemStatistics() throws {
    let scratch = try mounted()
    var statistics = statvfs()
    #expect(statvfs(scratch.point, &statistics) == 0)
    // The sources', rounded up to blocks. No file of the tree was composed for it.
    #expect(statistics.f_blocks * statistics.f_frsize == 5_001_216 && statistics.f_bfree == 0)
    #expect(statistics.f_namemax == 255 && statistics.f_flag & UInt(ST_RDONLY) != 0)
  }
}
