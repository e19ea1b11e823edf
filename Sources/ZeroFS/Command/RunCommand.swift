import ArgumentParser
import Bytes
import Checkpoints
import Glibc
import Mount
import Store

/// `zerofs run`: a mount as long as a command runs.
struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Run a command with the checkpoint mounted.",
    discussion: """
      In the command's words {} is the mount point, and so is $ZEROFS_MNT in its environment. Signals are passed on, and the \
      status is the command's own. Of the processes that mpiexec, srun, torchrun or deepspeed starts on a node one mounts, the others wait for it, and \
      the last one to leave unmounts; nothing stays mounted when processes are killed. Data-parallel ranks are those of the launcher, if no option says otherwise.

      With --save DIR both are DIR as soon as it has a checkpoint of its own (DIR/latest), and nothing is mounted: a job that is \
      sent again goes on where the last one saved.
      """)

  @OptionGroup
  var source: SourceArguments

  @Option(
    help: ArgumentHelp(
      "Where the run saves: loaded from instead of the mount once it has a checkpoint.", valueName: "dir"))
  var save: String?

  @Argument(parsing: .postTerminator, help: ArgumentHelp("The command, behind --.", valueName: "command"))
  var command: [String]

  func validate() throws {
    if command.isEmpty { throw ValidationError("The command is missing: zerofs run HF_DIR -- COMMAND…") }
  }

  func run() throws {
    try reporting {
      if let save, access("\(save)/latest", F_OK) == 0 {
        // A checkpoint of the run itself is a regular one.
        throw ExitCode(try start(command.filter { $0 != "--universal-checkpoint" }, at: save))
      }
      let launched = try LaunchedShare.find(ofTorch: true)?.share
      let mount = if let launched { try join(launched) } else { try onThisHost { try mounted(plan(nil)) } }
      defer { mount.leave() }
      throw ExitCode(try start(command, at: mount.path))
    }
  }

  private func plan(_ share: Share?) throws -> PlannedMount {
    let planner = try source.model(at: absolutePath(source.path)).planner()
    let plan = try PlannedMount(share.map { try planner.spread(over: $0.world) } ?? planner)
    if share?.rank ?? 0 == 0 { warn(plan.served.warnings) }
    return plan
  }

  /// The mount of one of many ranks. With `--save` it returns when all ranks have theirs, of the same, or none.
  private func join(_ share: Share) throws -> SharedMount {
    // Without a plan it comes only to say so.
    let plan = try onThisHost({ try? rendezvous(share, fingerprint: "")?.fail($0) }, { try self.plan(share) })
    let meeting = try onThisHost { try rendezvous(share, fingerprint: plan.fingerprint) }
    let mount = try onThisHost({ meeting?.fail($0) }, { try mounted(plan) })
    do { try meeting?.wait() } catch {
      mount.leave()
      throw error
    }
    return mount
  }

  /// Where the ranks of a run wait for one another: the directory that they save to, which all nodes share.
  private func rendezvous(_ share: Share, fingerprint: String) throws -> Rendezvous? {
    guard let save, share.world > 1 else { return nil }
    return try Rendezvous(in: save, share, fingerprint: fingerprint, host: HostFailure.host)
  }

  private func mounted(_ plan: PlannedMount) throws -> SharedMount {
    let mount = try SharedMount(key: plan.identity) { path in
      let mountpoint = try Mountpoint(path, logger: LogDestination.standardError.logger())
      try plan.mount(at: mountpoint, MountOptions(source: absolutePath(source.path)))
    }
    do {
      try checkReadable("\(mount.path)/\(plan.served is Checkpoint ? "latest" : "config.json")")
    } catch {
      mount.leave()
      throw error
    }
    return mount
  }

  /// Of many nodes one may fail: its errors say which.
  private func onThisHost<Result>(
    _ tell: (_ message: String) -> Void = { _ in }, _ body: () throws -> Result
  ) throws -> Result {
    do { return try body() } catch let error as any Failure {
      let failure = HostFailure(error: error)
      tell(failure.description)
      throw failure
    }
  }

  /// DeepSpeed only warns where it finds no `latest`, and goes on from random weights.
  private func checkReadable(_ path: String) throws(MountReadError) {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    var byte: UInt8 = 0
    guard file >= 0, read(file, &byte, 1) == 1 else { throw MountReadError(path: path, errno: errno) }
    close(file)
  }

  /// Runs the command with the checkpoint at `path`.
  private func start(_ words: [String], at path: String) throws(CommandError) -> Int32 {
    let words = words.map { word in
      word.split(separator: "{}", omittingEmptySubsequences: false).joined(separator: path)
    }
    return try ChildProcess(words, environment: ["ZEROFS_MNT": path]).wait()
  }
}

/// A checkpoint that can't be read where it was mounted.
struct MountReadError: Failure {
  let path: String
  let errno: Int32

  var exitStatus: ExitStatus { .inputOutput }
  var description: String { "\(path) can't be read: \(errnoMessage(errno)). .zerofs/log says more." }
}

/// An error of one node of a run.
struct HostFailure: Failure {
  let error: any Failure

  var exitStatus: ExitStatus { error.exitStatus }
  var description: String { "\(HostFailure.host): the command was not started: \(error)" }

  static var host: String {
    var name = [CChar](repeating: 0, count: 256)
    gethostname(&name, name.count - 1)
    return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
