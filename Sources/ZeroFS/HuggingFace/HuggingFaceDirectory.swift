import Bytes
import FoundationEssentials
import Glibc

/// A Hugging Face model directory: its configuration and where each tensor is. Opens every shard and reads the headers;
/// tensor data is not touched.
package struct HuggingFaceDirectory: Sendable {
  /// As given by the user.
  package let path: String
  /// `config.json`, of any model.
  package let configurationFile: ConfigurationFile
  /// `config.json`, and the index where there is one.
  package let descriptions: [any StoredFile]
  /// The safetensors files, by path.
  package let files: [any StoredFile]
  private let tensors: [String: Located]
  private let store: any ModelFiles

  private struct Located {
    let file: any StoredFile
    let tensor: SafetensorsHeader.Tensor
  }

  // Named as in the file.
  // swift-format-ignore: AlwaysUseLowerCamelCase
  private struct Index: Decodable { let weight_map: [String: String] }

  /// The model in the directory `path` on disk.
  ///
  /// - Throws: `SourceError`.
  package init(path: String) throws { try self.init(try DiskDirectory(path)) }

  /// - Throws: `SourceError`.
  package init(_ store: any ModelFiles) throws {
    path = store.path
    self.store = store
    func open(_ name: String) throws(SourceError) -> any StoredFile {
      do { return try store.open(name) } catch {
        throw .unreadable(path: "\(store.path)/\(name)", why: error.reason)
      }
    }
    let description = try open("config.json")
    configurationFile = try ConfigurationFile(description)

    let single = "model.safetensors"
    let index = "model.safetensors.index.json"
    var tensors: [String: Located] = [:]
    if store.holds(single) {
      let file = try open(single)
      (files, descriptions) = ([file], [description])
      for (name, tensor) in try SafetensorsHeader(of: file).tensors {
        tensors[name] = Located(file: file, tensor: tensor)
      }
    } else if store.holds(index) {
      let weightMap: [String: String]
      let indexFile = try open(index)
      do {
        weightMap = try JSONDecoder().decode(
          Index.self, from: Data(try HuggingFaceDirectory.contents(of: indexFile))
        ).weight_map
      } catch let error as SourceError {
        throw error
      } catch {
        throw SourceError.malformedJSON(
          path: indexFile.path, why: "not a safetensors index (\(decodingProblem(error)))")
      }
      var files: [String: any StoredFile] = [:]
      var headers: [String: [String: SafetensorsHeader.Tensor]] = [:]
      for (name, shard) in weightMap.sorted(by: { ($0.value, $0.key) < ($1.value, $1.key) }) {
        guard !shard.hasPrefix("/") && !shard.split(separator: "/").contains("..") else {
          throw SourceError.shardOutsideDirectory(index: indexFile.path, tensor: name, shard: shard)
        }
        let shardPath = path + "/" + shard
        if files[shard] == nil {
          guard store.holds(shard) else {
            throw SourceError.missingShard(path: shardPath, tensor: name)
          }
          let file = try open(shard)
          headers[shard] = try SafetensorsHeader(of: file).tensors
          files[shard] = file
        }
        guard let file = files[shard], let tensor = headers[shard]?[name] else {
          throw SourceError.notInShard(tensor: name, path: shardPath)
        }
        tensors[name] = Located(file: file, tensor: tensor)
      }
      self.files = files.sorted { $0.key < $1.key }.map(\.value)
      descriptions = [description, indexFile]
    } else {
      throw SourceError.unreadable(
        path: path, why: "neither model.safetensors nor model.safetensors.index.json is there")
    }
    self.tensors = tensors
  }

  /// What else belongs to a model, beside configuration and weights: the tokenizer, the generation settings, code, a licence.
  ///
  /// - Throws: `SourceError.unreadable`.
  package func companions() throws(SourceError) -> [any StoredFile] {
    let known = Set((descriptions + files).map(name))
    var companions: [any StoredFile] = []
    for name in try store.names() where !known.contains(name) && HuggingFaceDirectory.isCompanion(name) {
      do { companions.append(try store.open(name)) } catch {
        throw .unreadable(path: "\(path)/\(name)", why: error.reason)
      }
    }
    return companions
  }

  private static func isCompanion(_ name: String) -> Bool {
    [".json", ".model", ".tiktoken", ".txt", ".jinja", ".py", ".md"].contains(where: name.hasSuffix)
      || name.hasPrefix("LICENSE")
  }

  /// The tensor `name`, which must be there with this shape, as F32, F16 or BF16.
  package func tensor(_ name: String, shape: [Int]) throws(SourceError) -> TensorExpression {
    guard let located = tensors[name] else { throw .missingTensor(name: name, directory: path) }
    let (file, tensor) = (located.file, located.tensor)
    guard tensor.shape == shape else {
      throw .wrongShape(tensor: name, path: file.path, shape: tensor.shape, expected: shape)
    }
    guard let dtype = DType(rawValue: tensor.dtype), [.float32, .float16, .bfloat16].contains(dtype) else {
      throw .wrongDType(tensor: name, path: file.path, dtype: tensor.dtype)
    }
    return TensorExpression(source: file, offset: tensor.offset, shape: shape, dtype: dtype)
  }

  /// The tensor `name` in the shape that its file gives it.
  package func tensor(_ name: String) throws(SourceError) -> TensorExpression {
    try tensor(name, shape: tensors[name]?.tensor.shape ?? [])
  }

  package func holds(_ name: String) -> Bool { tensors[name] != nil }

  /// The dtype that the model was saved in: as `config.json` says, else that of the first tensor by name, an embedding or
  /// output layer. `nil` if that isn't F32, F16 or BF16.
  package var dtype: DType? {
    if let dtype = configurationFile.dtype { return dtype }
    let first = tensors.min { $0.key < $1.key }?.value.tensor.dtype
    return first.flatMap(DType.init(rawValue:)).flatMap {
      [.float32, .float16, .bfloat16].contains($0) ? $0 : nil
    }
  }

  /// What Megatron's model families need of `config.json`.
  ///
  /// - Throws: `ModelError.unknownModelType`, `SourceError.malformedJSON`.
  package var configuration: ModelConfiguration {
    get throws { try ModelConfiguration(json: configurationFile.contents, path: configurationFile.path) }
  }

  /// Names of all tensors.
  package var tensorNames: some Collection<String> { tensors.keys }

  /// The file that holds tensor `name`.
  package func file(of name: String) -> String { tensors[name]?.file.path ?? path }

  /// The name of one of the files in the directory.
  package func name(of file: any StoredFile) -> String { file.path.dropping(prefix: path + "/") ?? file.path }

  /// When the newest of the files was written.
  package var modified: timespec {
    files.map(\.modified).max { ($0.tv_sec, $0.tv_nsec) < ($1.tv_sec, $1.tv_nsec) } ?? timespec()
  }

  /// A whole small file of a model.
  package static func contents(of file: any StoredFile) throws(SourceError) -> [UInt8] {
    do { return try file.contents() } catch { throw .unreadable(path: file.path, why: error.reason) }
  }
}
