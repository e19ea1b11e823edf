import Bytes

/// Which file of a model holds each tensor, and where: by the one safetensors file there is, or by the index of several.
struct TensorTable: Sendable {
  struct Located: Sendable {
    let file: any StoredFile
    let tensor: SafetensorsHeader.Tensor
  }

  static let single = "model.safetensors"
  static let index = "model.safetensors.index.json"

  /// By path.
  private(set) var files: [any StoredFile] = []
  /// Where there is one.
  private(set) var indexFile: (any StoredFile)?
  private(set) var tensors: [String: Located] = [:]

  /// Opens every file and reads the headers; tensor data is not touched.
  init(_ store: any ModelFiles) throws(SourceError) {
    if store.holds(TensorTable.single) {
      let file = try store.file(TensorTable.single)
      files = [file]
      tensors = try SafetensorsHeader(of: file).tensors.mapValues { Located(file: file, tensor: $0) }
    } else if store.holds(TensorTable.index) {
      let file = try store.file(TensorTable.index)
      indexFile = file
      try add(try TensorTable.weightMap(file), of: store, index: file.path)
    } else {
      throw .noModel(
        path: store.path,
        OtherDirectory(store, missing: "neither \(TensorTable.single) nor \(TensorTable.index) is there"))
    }
  }

  private mutating func add(
    _ weightMap: [(tensor: String, shard: String)], of store: any ModelFiles, index: String
  )
    throws(SourceError)
  {
    let shards = Dictionary(grouping: weightMap, by: \.shard).sorted { $0.key < $1.key }
    for (shard, entries) in shards {
      let path = "\(store.path)/\(shard)"
      guard TensorTable.staysInside(shard) else {
        throw .shardOutsideDirectory(index: index, tensor: entries[0].tensor, shard: shard)
      }
      guard store.holds(shard) else { throw .missingShard(path: path, tensor: entries[0].tensor) }
      let file = try store.file(shard)
      let header = try SafetensorsHeader(of: file).tensors
      for (name, _) in entries {
        guard let tensor = header[name] else { throw .notInShard(tensor: name, path: path) }
        tensors[name] = Located(file: file, tensor: tensor)
      }
      files.append(file)
    }
  }

  /// Compares bytes: to Swift a slash with a combining mark behind is another character.
  private static func staysInside(_ path: String) -> Bool {
    let parts = path.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    return !path.utf8.contains(0) && !parts.contains { $0.isEmpty || $0.elementsEqual("..".utf8) }
  }

  /// - Returns: by tensor.
  private static func weightMap(_ file: any StoredFile) throws(SourceError) -> [(
    tensor: String, shard: String
  )] {
    func malformed(_ why: String) -> SourceError {
      .malformedJSON(path: file.path, why: "not a safetensors index: \(why)")
    }
    if let kind = ForeignFile(file) { throw .foreignFile(path: file.path, kind) }
    var reader = JSONReader(try HuggingFaceDirectory.contents(of: file))
    let json: JSON
    do { json = try reader.document() } catch { throw malformed("there is \(error)") }
    if let name = reader.duplicates.first { throw malformed("it has \(JSON.excerpt(name)) twice") }
    guard let members = json["weight_map"]?.members?.all else { throw malformed("no object weight_map") }
    return try members.map { member throws(SourceError) in
      guard let shard = member.value.string else {
        throw malformed("\(JSON.excerpt(member.name)) is in \(member.value.excerpt)")
      }
      return (member.name, shard)
    }.sorted { $0.tensor < $1.tensor }
  }
}
