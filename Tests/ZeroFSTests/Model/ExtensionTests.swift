import Foundation
import Testing

@testable import Bytes
@testable import Checkpoints
@testable import HuggingFace

private let golden =
  (ProcessInfo.processInfo.environment["SHARED"]
    ?? URL(fileURLWithPath: #filePath).deletingLastPathComponent().path + "/../../../../shared")
  + "/golden/extension"

/// None in a bare clone.
private let cases =
  ((try? FileManager.default.contentsOfDirectory(atPath: golden + "/hf")) ?? []).sorted()

/// Models that need the extension: what it has to compute, and their parameters there and back.
@Suite(.enabled(if: !cases.isEmpty)) struct ExtensionTests {

  private static func directory(_ name: String) throws -> HuggingFaceDirectory {
    try HuggingFaceDirectory(path: "\(golden)/hf/\(name)")
  }

  private static func spec(_ name: String) throws -> JSON {
    let file = try JSON([UInt8](Data(contentsOf: URL(fileURLWithPath: golden + "/cases.json"))))
    return try #require(file[name]?["extension"])
  }

  /// As JSON whose numbers and members are compared, and not their spelling.
  private static func normalized(_ json: JSON) -> JSON {
    switch json {
    case .int(let value): .double(Double(value))
    case .array(let elements): .array(elements.map(normalized))
    case .object(let members):
      .object(
        JSON.Members(
          members.all.sorted { $0.name < $1.name }.map { ($0.name, normalized($0.value)) }))
    default: json
    }
  }

  @Test(arguments: cases) func theSpecIsThePrototypes(name: String) throws {
    // Longer than any window or original length there.
    let table = try ParameterTable(of: Self.directory(name), sequenceLength: 128)
    #expect(table.architecture.extensionNeed == .always)
    #expect(
      Self.normalized(.object(table.architecture.spec.members)) == Self.normalized(try Self.spec(name)))
  }

  /// The way back is the inverse. OPT's rows for padding have no place in MDS, and come back as zeros.
  @Test(arguments: cases, [1, 2]) func thereAndBack(name: String, size: Int) throws {
    let directory = try Self.directory(name)
    if size == 2 && ["x_gemma_2b", "x_falcon_7b"].contains(name) { return }
    let model = try MegatronModel(
      directory, layout: try ParallelLayout(tp: size, pp: 2, dtype: .float32), sequenceLength: 128)
    let back = HuggingFaceTensors(model.geometry)
    #expect(Set(back.names) == Set(directory.tensorNames))
    for tensor in back.names {
      let stored = try directory.tensor(tensor).cast(to: .float32)
      let found = back.tensor(tensor) { module, entry, tp in
        model.parameters(of: module, tp: tp).first { $0.name == entry }!.tensor
      }
      #expect(found.shape == stored.shape, "\(tensor)")
      var (mine, theirs) = (try found.bytes(), try stored.bytes())
      if tensor.hasSuffix("embed_positions.weight") {
        let unused = 2 * stored.shape[1] * 4
        #expect(mine.prefix(unused).allSatisfy { $0 == 0 })
        (mine, theirs) = (Array(mine.dropFirst(unused)), Array(theirs.dropFirst(unused)))
      }
      #expect(mine == theirs, "\(tensor)")
    }
  }

  /// A bias of the vocabulary keeps its padding in a universal checkpoint, where DeepSpeed cuts it by rows alone.
  @Test func theHeadsBiasKeepsItsPadding() throws {
    let model = try MegatronModel(
      Self.directory("x_phi"), layout: try ParallelLayout(tp: 2, dtype: .bfloat16), sequenceLength: 128)
    let whole = model.wholeParameters().map(\.parameter)
    #expect(whole.first { $0.name.hasSuffix("lm_head.bias") }?.tensor.shape == [512])
    #expect(whole.first { $0.name.hasSuffix("lm_head.weight") }?.tensor.shape == [259, 64])
  }

  @Test func headBiasesThatTheExtensionLacks() throws {
    let directory = try Self.directory("x_gptj")
    #expect(throws: LayoutError.headBiasAtStage3) {
      try MegatronModel(
        directory, layout: try ParallelLayout(zeroStage: 3, dtype: .bfloat16, engine: .noPipeline))
    }
  }

  @Test func whatIsUnknownIsServedForBoth() throws {
    let directory = try Self.directory("x_longrope_long")
    func architecture(_ length: Int?) throws -> Architecture {
      try ParameterTable(of: directory, sequenceLength: length).architecture
    }
    let (short, unknown, long) = (try architecture(16), try architecture(nil), try architecture(17))
    #expect(short.extensionNeed == .never && short.spec.isEmpty && short.rotary?.scale != 1)
    #expect(long.extensionNeed == .always && long.rotary == nil)
    // The factor is in the weights, so that the extension leaves it out.
    #expect(unknown.extensionNeed == .beyondLimits && unknown.rotary == short.rotary)
    #expect(unknown.spec.rope?["attention_factor"] == .double(1))
  }

  @Test func textIsPythons() throws {
    var members = JSON.Members()
    members.set("z", .array([.int(1), .double(0.5), .null]))
    members.set("a", .string("\"\\é\n"))
    members.set("m", .object(JSON.Members([("b", .bool(true))])))
    #expect(JSON.object(members).text == #"{"a":"\"\\\u00e9\u000a","m":{"b":true},"z":[1,0.5,null]}"#)
    #expect(try JSON(Array(JSON.object(members).text.utf8))["a"] == members["a"])
  }
}
