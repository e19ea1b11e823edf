// swift-tools-version: 6.2
import PackageDescription

// The layers of docs/architecture.md, lowest first. A target may import those above it in this file and no others: the
// compiler refuses the rest.
let strict: [SwiftSetting] = [
  .treatAllWarnings(as: .error), .enableUpcomingFeature("MemberImportVisibility"),
]
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")

func layer(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .target(name: name, dependencies: dependencies, path: "Sources/ZeroFS/\(name)", swiftSettings: strict)
}

let package = Package(
  name: "zerofs",
  products: [.executable(name: "zerofs", targets: ["Command"])],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
  ],
  targets: [
    .systemLibrary(name: "CFuse", pkgConfig: "fuse3", providers: [.apt(["libfuse3-dev"])]),
    .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
    .systemLibrary(name: "CIsal", pkgConfig: "libisal", providers: [.apt(["libisal-dev"])]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    // The Python package that extends Megatron-DeepSpeed, embedded file by file.
    .target(
      name: "MegatronExtension", path: "Sources/MegatronExtension", exclude: ["zerofs_megatron"]),

    // Lazy tensors, extents, and the bytes of their windows.
    layer("Bytes", ["CIsal", "CZlib"]),
    // The files of torch.save, written and read.
    layer("Torch", ["Bytes"]),
    // Model directories: config.json, the index, safetensors.
    layer("HuggingFace", ["Bytes"]),
    // Command lines, launch scripts and logs of a training run.
    layer("Run", ["Bytes"]),
    // What Megatron-DeepSpeed, DeepSpeed and HF Trainer save of a model.
    layer("Checkpoints", ["Bytes", "Torch", "HuggingFace", "Run", "MegatronExtension"]),
    // A tree of virtual files in the kernel: the one target that knows FUSE.
    layer("Mount", ["Bytes", "CFuse", logging]),
    // A tree as files, a model as an archive, and both held against what they should be: the one target that knows zstd.
    layer("Store", ["Bytes", "Torch", "HuggingFace", "Checkpoints", "CZstd"]),
    .executableTarget(
      name: "Command",
      dependencies: [
        "Bytes", "HuggingFace", "Run", "Checkpoints", "Mount", "Store", argumentParser, logging,
      ],
      path: "Sources/ZeroFS/Command", swiftSettings: strict),

    .testTarget(
      name: "ZeroFSTests",
      dependencies: [
        "Bytes", "Torch", "HuggingFace", "Run", "Checkpoints", "Mount", "Store", "MegatronExtension", "CZlib",
      ],
      swiftSettings: strict),
    // Reads any bytes as each kind of input: `make fuzz`.
    .executableTarget(
      name: "zerofs-fuzz",
      dependencies: ["Bytes", "Torch", "HuggingFace", "Run", "Checkpoints", "Store"], path: "Tests/Fuzz",
      exclude: ["corpus", "run.sh"], swiftSettings: strict),
    // Random windows of a source's files against a copy of them: `make fuzz`.
    .executableTarget(
      name: "zerofs-windows", dependencies: ["Bytes", "HuggingFace", "Checkpoints"], path: "Tests/Windows",
      swiftSettings: strict),
    // Mounts a synthetic tree in a process of its own, through the same calls as `zerofs mount`.
    .executableTarget(
      name: "MountFixture", dependencies: ["Bytes", "Mount"], path: "Tests/MountFixture",
      swiftSettings: strict),
    .testTarget(
      name: "ZeroFSMountTests",
      dependencies: ["Bytes", "Checkpoints", "Mount", "MountFixture", "Command", argumentParser],
      swiftSettings: strict),
  ]
)
