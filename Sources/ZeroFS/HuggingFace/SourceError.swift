import Bytes

/// What is wrong with a Hugging Face directory. Nothing is mounted or written.
package enum SourceError: Failure, Equatable {
  /// The directory or one of its files can't be read.
  case unreadable(path: String, why: String)
  /// `config.json` or the index isn't what transformers writes.
  case malformedJSON(path: String, why: String)
  /// A safetensors file breaks the format's rules.
  case malformedSafetensors(path: String, why: String)
  /// A file ends before the data that its header promises, or holds more.
  case truncated(path: String, expectedBytes: Int, actualBytes: Int)
  /// The index names a shard that isn't there.
  case missingShard(path: String, tensor: String)
  /// A `weight_map` entry points outside of the directory.
  case shardOutsideDirectory(index: String, tensor: String, shard: String)
  /// A tensor that the configuration implies is in no file.
  case missingTensor(name: String, directory: String)
  /// The index says that a shard holds a tensor, and the shard doesn't.
  case notInShard(tensor: String, path: String)
  case wrongShape(tensor: String, path: String, shape: [Int], expected: [Int])
  case wrongDType(tensor: String, path: String, dtype: String)
  /// A tensor that the model family has no place for.
  case unexpectedTensor(name: String, path: String)

  package var exitStatus: ExitStatus {
    switch self {
    case .unreadable, .malformedJSON, .malformedSafetensors, .truncated, .missingShard,
      .shardOutsideDirectory, .missingTensor, .notInShard, .wrongShape, .wrongDType, .unexpectedTensor:
      .source
    }
  }

  package var description: String {
    switch self {
    case .unreadable(let path, let why):
      "\(path): \(why). Give a directory with config.json and *.safetensors, as save_pretrained writes it."
    case .malformedJSON(let path, let why):
      "\(path): \(why). Download or save the model again."
    case .malformedSafetensors(let path, let why):
      "\(path): not a valid safetensors file: \(why). Download or save the model again."
    case .truncated(let path, let expected, let actual):
      "\(path): holds \(actual) bytes where its header describes \(expected). "
        + "The download is incomplete; fetch the file again."
    case .missingShard(let path, let tensor):
      "\(path): no such file, but the index says that it holds \(tensor). "
        + "The download is incomplete; fetch the missing shard."
    case .shardOutsideDirectory(let index, let tensor, let shard):
      "\(index): weight_map places \(tensor) in \"\(shard)\", which leaves the directory. "
        + "zerofs reads nothing outside of it; correct the index."
    case .missingTensor(let name, let directory):
      "\(directory): no tensor \(name), which config.json implies. "
        + "Check that config.json belongs to these weights and that no shard is missing from the index."
    case .notInShard(let tensor, let path):
      "\(path): no tensor \(tensor), although the index says so. Download index and shards of one revision."
    case .wrongShape(let tensor, let path, let shape, let expected):
      "\(path): \(tensor) has shape \(shape); config.json implies \(expected). "
        + "Check that config.json belongs to these weights."
    case .wrongDType(let tensor, let path, let dtype):
      "\(path): \(tensor) has dtype \(dtype); zerofs serves F32, F16 and BF16 weights. "
        + "Save the model in one of these (a quantized model must be dequantized first)."
    case .unexpectedTensor(let name, let path):
      "\(path): tensor \(name) has no place in this model family in Megatron-DeepSpeed. "
        + "Leaving it out would change the model."
    }
  }
}
