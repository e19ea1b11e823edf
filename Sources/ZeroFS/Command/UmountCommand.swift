import ArgumentParser
import Mount

struct UmountCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "umount", abstract: "Unmount what `zerofs mount` mounted.", aliases: ["unmount"])

  @Argument(help: "The mount point.")
  var mountpoint: String

  @Flag(
    name: [.short, .long], help: "Take a busy mount out of the tree now; it ends when its last reader does.")
  var lazy = false

  func run() throws {
    try reporting { try Unmount.unmount(mountpoint, lazily: lazy) }
  }
}
