import Bytes
import Foundation
import Testing

@testable import Mount
@testable import MountFixture

/// How a daemon starts and ends, and what it leaves for later calls of zerofs.
@Suite struct DaemonTests {
  private let fixture = program("MountFixture")
  private let zerofs = program("zerofs")

  // MARK: one mount at a mountpoint

  @Test func ofManyMountsAtOnceOneWins() throws {
    let scratch = try Scratch()
    let children = try (0..<6).map { _ in try Child(fixture, [scratch.sources, scratch.point]) }
    let statuses = children.map { $0.wait() }
    #expect(statuses.sorted() == [0, 6, 6, 6, 6, 6])
    #expect(MountEntry.count(at: scratch.point) == 1)
  }

  @Test func whoIsAboutToMountKeepsOthersOut() throws {
    let scratch = try Scratch()
    do {
      let lock = try MountLock(scratch.point)
      let other = try scratch.mount()
      #expect(other.status == 6 && other.output.contains("another zerofs is about to mount there"))
      withExtendedLifetime(lock) {}
    }
    #expect(try scratch.mount().status == 0)
    // It is for the time until the mount table shows the mount.
    #expect(throws: Never.self) { _ = try MountLock(scratch.point) }
  }

  @Test func aLinkThatWasPlantedIsNotFollowed() throws {
    let scratch = try Scratch()
    let places = ["link", "open", "own"].map { scratch.root + "/" + $0 }
    symlink(scratch.sources, places[0])
    mkdir(places[1], 0o700)
    chmod(places[1], 0o777)
    let directory = try RuntimeDirectory.own(in: places)
    #expect(attributes(places[2])?.st_mode == S_IFDIR | 0o700)
    symlink(scratch.sources + "/a.bin", places[2] + "/name")
    mkfifo(places[2] + "/pipe", 0o600)
    #expect(directory.file("name", O_RDWR | O_CREAT) == nil && errno == ELOOP)
    #expect(directory.file("pipe", O_RDWR) == nil && errno == EINVAL)
    #expect(throws: MountError.noRuntimeDirectory(tried: [places[0], places[1]])) {
      _ = try RuntimeDirectory.own(in: [places[0], places[1]])
    }
  }

  // MARK: its end

  @Test func umountWaitsForTheDaemon() throws {
    let scratch = try mounted()
    let server = try scratch.server()
    kill(server.identifier, SIGSTOP)
    let umount = try Child(zerofs, ["umount", scratch.point])
    for _ in 0..<500 where MountEntry.count(at: scratch.point) > 0 { usleep(20_000) }
    #expect(MountEntry.at(scratch.point) == nil)
    usleep(300_000)
    #expect(!umount.hasEnded, "the daemon has the source files open")
    kill(server.identifier, SIGCONT)
    #expect(umount.wait() == 0)
    #expect(server.waitForEnd(milliseconds: 0))
    #expect(MountRecord.find(scratch.point) == nil)
  }

  @Test(.enabled(if: geteuid() == 0, "mounts a tmpfs")) func theSourcesCanBeUnmountedNext() throws {
    let scratch = try Scratch()
    let outcome = try shell(
      #"""
      set -e
      for round in 1 2 3; do
        mount -t tmpfs tmpfs "$3"
        for name in a b; do head -c 1000000 /dev/urandom > "$3/$name.bin"; done
        "$1" "$3" "$4"
        "$2" umount "$4"
        umount "$3"
      done
      """#, fixture.path, zerofs.path, scratch.sources, scratch.point)
    #expect(outcome.status == 0, "\(outcome.output)")
  }

  @Test func lazyUmountDoesNotWaitForReaders() throws {
    let scratch = try mounted()
    let server = try scratch.server()
    let descriptor = open(scratch.path("cast.pt"), O_RDONLY | O_CLOEXEC)
    #expect(try run(zerofs, ["umount", "--lazy", scratch.point]).status == 0)
    #expect(!server.waitForEnd(milliseconds: 0))
    // Another mount there is a matter of its own.
    #expect(try scratch.mount().status == 0)
    let other = try scratch.server()
    #expect(other.identifier != server.identifier)
    close(descriptor)
    #expect(server.waitForEnd(milliseconds: 20_000))
    #expect(try scratch.server().identifier == other.identifier)
  }

  /// What `nohup` and shells without job control leave ignored.
  @Test(arguments: [SIGHUP, SIGINT, SIGTERM]) func ignoredSignalsEndIt(signal: Int32) throws {
    let scratch = try Scratch()
    let outcome = try shell(
      #"trap "" HUP INT TERM; exec "$@""#, fixture.path, scratch.sources, scratch.point)
    #expect(outcome.status == 0, "\(outcome.output)")
    let server = try scratch.server()
    kill(server.identifier, signal)
    #expect(server.waitForEnd(milliseconds: 20_000))
    #expect(MountEntry.at(scratch.point) == nil)
  }

  @Test func nothingIsInherited() throws {
    let scratch = try Scratch()
    let lock = scratch.root + "/lock"
    let outcome = try shell(
      #"exec 9> "$1"; flock 9; shift; exec "$@""#, lock, fixture.path, scratch.sources, scratch.point)
    #expect(outcome.status == 0, "\(outcome.output)")
    #expect(try shell(#"exec flock -n "$1" true"#, lock).status == 0)
    #expect(try read(scratch.path("sub/small.pt"), 0..<10).get().count == 10)
  }

  // MARK: what it leaves

  @Test(arguments: ["mount", "umount"]) func theNextCallSaysWhyItDied(call: String) throws {
    let scratch = try mounted()
    #expect(attributes(scratch.path("crash")) == nil)
    let next = try call == "mount" ? scratch.mount() : run(zerofs, ["umount", scratch.point])
    #expect(next.status == 0)
    #expect(next.output.contains("a bug of the fixture's"), "\(next.output)")
    // Once.
    #expect(try !run(zerofs, ["umount", scratch.point]).output.contains("a bug"))
  }

  /// SIGTRAP is none of those that threads of Dispatch block, whose mask is inherited.
  @Test(arguments: [(SIGKILL, "without a word"), (SIGTRAP, "killed by signal 5")])
  func aSignalIsSaid(signal: Int32, words: String) throws {
    let scratch = try Scratch()
    // Swift's own handler returns where a signal came from outside.
    let outcome = try shell(
      #"SWIFT_BACKTRACE=enable=no exec "$@""#, fixture.path, scratch.sources, scratch.point)
    #expect(outcome.status == 0, "\(outcome.output)")
    let server = try scratch.server()
    kill(server.identifier, signal)
    #expect(server.waitForEnd(milliseconds: 20_000))
    #expect(try run(zerofs, ["umount", scratch.point]).output.contains(words))
  }

  /// As umount(8) of a dead mount leaves it.
  @Test func aMountThatIsGoneIsExplained() throws {
    let scratch = try mounted()
    let server = try scratch.server()
    kill(server.identifier, SIGKILL)
    #expect(server.waitForEnd(milliseconds: 20_000))
    umount2(scratch.point, 0)
    let said = try run(zerofs, ["umount", scratch.point])
    #expect(said.status == 6 && said.output.contains("without a word"), "\(said.output)")
    #expect(try run(zerofs, ["umount", scratch.point]).output.contains("nothing is mounted there\n"))
  }

  @Test func aMountThatCannotServeIsNoSuccess() throws {
    let scratch = try Scratch()
    let outcome = try scratch.mount("--broken")
    #expect(outcome.status == 8)
    #expect(outcome.output.contains("a first read failed"), "\(outcome.output)")
    #expect(outcome.output.contains("a bug of the fixture's"), "\(outcome.output)")
    #expect(MountEntry.at(scratch.point) == nil)
    #expect(try scratch.mount().output == "")
  }

  // MARK: options

  /// A comma with an accent on it is one character, and still ends an option.
  @Test(arguments: [",\u{301}", "a,b\\", "\u{e9}e\u{301}"]) func anySourceIsNamed(name: String) throws {
    let scratch = try Scratch()
    let source = scratch.root + "/" + name
    symlink(scratch.sources, source)
    let outcome = try run(fixture, [source, scratch.point])
    #expect(outcome.status == 0, "\(outcome.output)")
    #expect(MountEntry.at(scratch.point).map { Array($0.source.utf8) } == Array(source.utf8))
  }

  /// As nobody, with a `/dev/fuse` for all, in a mount namespace of its own.
  @Test(.enabled(if: geteuid() == 0, "becomes nobody")) func withoutPrivileges() throws {
    let scratch = try Scratch()
    for path in [scratch.point, scratch.sources] { chown(path, 65534, 65534) }
    let outcome = try run(
      URL(fileURLWithPath: "/usr/bin/unshare"),
      [
        "-m", "sh", "-c",
        #"""
        mknod -m 666 "$4/fuse" c 10 229 && mount --bind "$4/fuse" /dev/fuse || exit 99
        user() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
        user "$1" "$3" "$5" -o allow_other; echo "allow_other: $?"
        user "$1" "$3" "$5"; echo "mount: $?"
        user "$2" umount "$5"; echo "umount: $?"
        pgrep -f "$5" -u 65534 && echo "a process is left"
        true
        """#,
        "sh", fixture.path, zerofs.path, scratch.sources, scratch.root, scratch.point,
      ])
    #expect(outcome.status == 0, "\(outcome.output)")
    #expect(
      outcome.output.contains("user_allow_other") && outcome.output.contains("allow_other: 7"),
      "\(outcome.output)")
    #expect(outcome.output.hasSuffix("mount: 0\numount: 0\n"), "\(outcome.output)")
  }
}
