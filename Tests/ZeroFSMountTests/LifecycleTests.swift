import Bytes
import Foundation
import Logging
import Mount
import Testing

@testable import Command
@testable import MountFixture

@Suite struct LifecycleTests {
  private let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  private func refusal(_ path: String) -> MountError? {
    do throws(MountError) { _ = try Mountpoint(path, logger: quiet) } catch { return error }
    return nil
  }

  @Test func mountpointsAreRefused() throws {
    let scratch = try Scratch()
    #expect(refusal(scratch.point) == nil)
    #expect(refusal(scratch.root + "/absent") == .mountpointMissing(path: scratch.root + "/absent"))
    let file = scratch.sources + "/a.bin"
    #expect(refusal(file) == .mountpointNotDirectory(path: file))
    #expect(refusal(file + "/below") == .mountpointNotDirectory(path: file + "/below"))
    #expect(refusal(scratch.sources) == .mountpointNotEmpty(path: scratch.sources))
  }

  @Test func aSecondMountIsRefused() throws {
    let scratch = try mounted()
    #expect(
      refusal(scratch.point)
        == .alreadyMounted(path: scratch.point, source: scratch.sources, type: "fuse.zerofs"))
    let second = try scratch.mount()
    #expect(second.status == 6)
    #expect(second.output.hasPrefix("zerofs: \(scratch.point): \(scratch.sources) is already mounted"))
  }

  @Test func fuseIsLookedFor() {
    #expect(throws: MountError.deviceUnavailable(errno: ENOENT)) {
      try Mountpoint.checkFuse(isRoot: true, options: [], device: "/dev/absent")
    }
    #expect(throws: Never.self) { try Mountpoint.checkFuse(isRoot: true, options: []) }
    #expect(throws: Never.self) { try Mountpoint.checkFuse(isRoot: false, options: []) }
    for (isRoot, options) in [(false, []), (true, ["auto_unmount"])] {
      #expect(throws: MountError.fusermountMissing) {
        try Mountpoint.checkFuse(isRoot: isRoot, options: options, folders: ["/absent"])
      }
    }
  }

  @Test func unknownOptionsAreRefusedWithAReason() throws {
    let scratch = try Scratch()
    let outcome = try scratch.mount("-o", "nonsense")
    #expect(outcome.status == 7)
    #expect(outcome.output.split(separator: "\n").count == 1)
    #expect(
      outcome.output.contains("nonsense") && outcome.output.contains("unknown option"), "\(outcome.output)")
    #expect(MountEntry.at(scratch.point) == nil)
  }

  @Test func theMountTableNamesTheSource() throws {
    let scratch = try mounted()
    // Also the escapes: the path has a space.
    let mount = try #require(MountEntry.at(scratch.point))
    #expect(mount.isZerofs && mount.source == scratch.sources)
  }

  @Test(arguments: [SIGTERM, SIGINT, SIGHUP]) func signalsUnmount(signal: Int32) throws {
    let scratch = try Scratch()
    let process = try Child(
      program("MountFixture"), [scratch.sources, scratch.point, "-f", "--log-file", scratch.log])
    for _ in 0..<200 where attributes(scratch.path("cast.pt")) == nil { usleep(20_000) }
    try #require(attributes(scratch.path("cast.pt")) != nil)
    kill(process.identifier, signal)
    #expect(process.wait() == 0)
    #expect(MountEntry.at(scratch.point) == nil)
  }

  @Test func aDeadMountIsCleared() throws {
    let scratch = try Scratch()
    let process = try Child(
      program("MountFixture"), [scratch.sources, scratch.point, "-f", "--log-file", scratch.log])
    for _ in 0..<200 where attributes(scratch.path("cast.pt")) == nil { usleep(20_000) }
    kill(process.identifier, SIGKILL)
    #expect(process.wait() == -SIGKILL)
    #expect(opendir(scratch.point) == nil && errno == ENOTCONN)
    let again = try scratch.mount()
    #expect(again.status == 0)
    #expect(again.output.contains("whose daemon died"))
    #expect(try read(scratch.path("sub/small.pt"), 0..<10).get().count == 10)
    #expect(MountEntry.all().count { $0.point == scratch.point } == 1)
  }

  @Test func umount() throws {
    let scratch = try mounted()
    let zerofs = program("zerofs")
    let descriptor = open(scratch.path("cast.pt"), O_RDONLY | O_CLOEXEC)
    let busy = try run(zerofs, ["umount", scratch.point])
    #expect(busy.status == 9 && busy.output.hasPrefix("zerofs: \(scratch.point): busy"))
    close(descriptor)
    #expect(try run(zerofs, ["umount", scratch.point]).status == 0)
    #expect(MountEntry.at(scratch.point) == nil)
    let again = try run(zerofs, ["umount", scratch.point])
    #expect(again.status == 6 && again.output == "zerofs: \(scratch.point): nothing is mounted there\n")
    #expect(throws: MountError.notZerofs(path: "/proc", source: "proc", type: "proc")) {
      try Unmount.unmount("/proc")
    }
  }

  @Test func lazyUmountLeavesReaders() throws {
    let scratch = try mounted()
    let descriptor = open(scratch.path("sub/small.pt"), O_RDONLY | O_CLOEXEC)
    try Unmount.unmount(scratch.point, lazily: true)
    #expect(MountEntry.at(scratch.point) == nil)
    var byte: UInt8 = 0
    #expect(pread(descriptor, &byte, 1, 0) == 1)
    close(descriptor)
  }

  @Test func withoutPrivilegesFusermountUnmounts() throws {
    let scratch = try mounted()
    let descriptor = open(scratch.path("cast.pt"), O_RDONLY | O_CLOEXEC)
    #expect(Unmount.detach(scratch.point, lazily: false, isRoot: false) == errnoMessage(EBUSY))
    close(descriptor)
    #expect(Unmount.detach(scratch.point, lazily: false, isRoot: false) == nil)
    #expect(MountEntry.at(scratch.point) == nil)
  }

  @Test func exitStatuses() {
    #expect(MountError.notMounted(path: "/x").exitStatus.rawValue == 6)
    #expect(MountError.fusermountMissing.exitStatus.rawValue == 7)
    #expect(MountError.sessionFailed(path: "/x", errno: EIO).exitStatus.rawValue == 8)
    #expect(MountError.busy(path: "/x").exitStatus.rawValue == 9)
  }
}
