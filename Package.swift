// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [.treatAllWarnings(as: .error)]

let package = Package(
  name: "zerofs",
  products: [
    .library(name: "ZeroFS", targets: ["ZeroFS"]),
    .executable(name: "zerofs", targets: ["ZeroFSCommand"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
    .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.0"),
  ],
  targets: [
    .systemLibrary(name: "CFuse", pkgConfig: "fuse3", providers: [.apt(["libfuse3-dev"])]),
    .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
    .systemLibrary(name: "CIsal", pkgConfig: "libisal", providers: [.apt(["libisal-dev"])]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .target(
      name: "ZeroFS",
      dependencies: ["CFuse", "CIsal", "CZlib", "CZstd", .product(name: "Logging", package: "swift-log")],
      swiftSettings: strict),
    .executableTarget(
      name: "ZeroFSCommand",
      dependencies: [
        "ZeroFS",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: strict),
    .testTarget(name: "ZeroFSTests", dependencies: ["ZeroFS", "CZlib"], swiftSettings: strict),
    // Mounts a synthetic tree in a process of its own, through the same calls as `zerofs mount`.
    .executableTarget(
      name: "MountFixture", dependencies: ["ZeroFS"], path: "Tests/MountFixture", swiftSettings: strict),
    .testTarget(
      name: "ZeroFSMountTests", dependencies: ["ZeroFS", "MountFixture", "ZeroFSCommand"],
      swiftSettings: strict),
  ]
)
