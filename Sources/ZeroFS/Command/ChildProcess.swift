import Bytes
import Glibc

/// A program that runs in this one's place: it gets this one's signals, and this one ends as it ends.
struct ChildProcess {
  private let identifier: pid_t
  private let signals: sigset_t

  /// What a launcher or a user sends. SIGINT and SIGQUIT of a terminal reach the whole group by themselves.
  private static let passed = [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCONT]

  /// Starts `words` with `environment` added to this process's own.
  ///
  /// - Throws: `CommandError` where there is no such program.
  init(_ words: [String], environment: [String: String]) throws(CommandError) {
    var (handled, before) = (sigset_t(), sigset_t())
    sigemptyset(&handled)
    for signal in ChildProcess.passed + [SIGCHLD] { sigaddset(&handled, signal) }
    sigprocmask(SIG_BLOCK, &handled, &before)
    signals = handled
    for (name, value) in environment { setenv(name, value, 1) }
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    // What `reporting` ignores is the program's own affair.
    var defaults = sigset_t()
    sigemptyset(&defaults)
    sigaddset(&defaults, SIGXFSZ)
    posix_spawnattr_setsigdefault(&attributes, &defaults)
    posix_spawnattr_setsigmask(&attributes, &before)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
    var arguments = words.map { strdup($0) } + [nil]
    defer { for argument in arguments { free(argument) } }
    var child: pid_t = 0
    let code = posix_spawnp(&child, words[0], nil, &attributes, &arguments, environ)
    guard code == 0 else { throw CommandError(program: words[0], errno: code) }
    identifier = child
  }

  /// Passes signals on until the program has ended.
  ///
  /// - Returns: its status, as shells count it: 128 and the signal for one that a signal ended.
  func wait() -> Int32 {
    var (set, information) = (signals, siginfo_t())
    while true {
      var status: Int32 = 0
      let ended = waitpid(identifier, &status, WNOHANG)
      if ended == identifier { return status & 0x7f == 0 ? status >> 8 & 0xff : 128 + status & 0x7f }
      let number = sigwaitinfo(&set, &information)
      let isOfTerminal = information.si_code == ChildProcess.fromKernel
      if number > 0, number != SIGCHLD, !isOfTerminal { kill(identifier, number) }
    }
  }

  /// SI_KERNEL.
  private static let fromKernel: Int32 = 0x80
}

/// A program that can't be started.
struct CommandError: Failure {
  let program: String
  let errno: Int32

  var exitStatus: ExitStatus { .run }
  var description: String {
    "\(program): cannot be started: \(errnoMessage(errno)); give the command behind --"
  }
}
