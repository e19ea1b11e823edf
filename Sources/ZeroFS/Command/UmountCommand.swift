import ArgumentParser
import Logging
import Mount

struct UmountCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "umount", abstract: "Unmount what `zerofs mount` mounted.",
    discussion: """
      Returns when the daemon has ended and let go of the source files: their file system can be unmounted next. With \
      --lazy programs that have files open go on, and so does the daemon, until the last of them has closed its own; that is \
      not waited for.
      """, aliases: ["unmount"])

  @Argument(help: "The mount point.")
  var mountpoint: String

  @Flag(
    name: [.short, .long], help: "Take a busy mount out of the tree now; it ends when its last reader does.")
  var lazy = false

  func run() throws {
    try reporting {
      if let reason = try Unmount.unmount(mountpoint, lazily: lazy) {
        try LogDestination.standardError.logger().notice("\(mountpoint): its daemon had died: \(reason)")
      }
    }
  }
}
