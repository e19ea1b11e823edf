import Bytes
import Glibc

/// What is wrong with a Hugging Face directory. Nothing is mounted or written. No message shows what a file holds beyond the
/// names and values of JSON that could be read.
package enum SourceError: Failure, Equatable {
  /// The directory or one of its files can't be read.
  case unreadable(ReadError)
  /// There is no such directory, and the name looks like a model's on the Hub.
  case hubID(String, path: String)
  case danglingLink(path: String, target: String)
  /// A symbolic link leads out of the model directory and of the Hub cache that it is part of.
  case linkLeaves(path: String, target: String)
  /// A file was given where a directory belongs.
  case notADirectory(path: String, GivenFile)
  /// A directory without a model that zerofs can read.
  case noModel(path: String, OtherDirectory)
  /// A file isn't what its name says.
  case foreignFile(path: String, ForeignFile)
  /// `config.json` or the index isn't what transformers writes.
  case malformedJSON(path: String, why: String)
  /// A dtype that no run trains in.
  case dtype(String, path: String)
  /// `config.json` says more layers than the files hold.
  case layers(configured: Int, held: Int, path: String)
  /// A safetensors file breaks the format's rules.
  case malformedSafetensors(path: String, why: String)
  /// A file ends before the data that its header promises.
  case truncated(path: String, expectedBytes: Int, actualBytes: Int)
  /// A file goes on behind its data.
  case tooLong(path: String, expectedBytes: Int, actualBytes: Int)
  /// The index names a shard that isn't there.
  case missingShard(path: String, tensor: String)
  /// A `weight_map` entry points outside of the directory.
  case shardOutsideDirectory(index: String, tensor: String, shard: String)
  /// A tensor that the configuration implies is in no file.
  case missingTensor(name: String, directory: String, MissingReason)
  /// The index says that a shard holds a tensor, and the shard doesn't.
  case notInShard(tensor: String, path: String)
  case wrongShape(tensor: String, path: String, shape: [Int], expected: [Int])
  case wrongDType(tensor: String, path: String, dtype: String)
  /// A tensor that the model family has no place for.
  case unexpectedTensor(name: String, path: String)

  /// Why a tensor may be missing.
  package enum MissingReason: Sendable, Equatable {
    case unknown
    /// Every name has something in front: `module.`.
    case prefix(String)
    /// Unmerged adapter layers: `q_proj.base_layer.weight`.
    case unmergedAdapter
    /// Packed weights of GPTQ, AWQ or the like: `q_proj.qweight`.
    case packedWeights
    /// The model was saved as a class without an output layer.
    case architecture(String)
    /// Neither an output layer, nor `tie_word_embeddings`.
    case untied
  }

  package var exitStatus: ExitStatus {
    switch self {
    case .unreadable, .hubID, .danglingLink, .linkLeaves, .notADirectory, .noModel, .foreignFile,
      .malformedJSON, .dtype, .layers, .malformedSafetensors, .truncated, .tooLong, .missingShard,
      .shardOutsideDirectory, .missingTensor, .notInShard, .wrongShape, .wrongDType, .unexpectedTensor:
      .source
    }
  }

  package var description: String {
    switch self {
    case .unreadable(let error):
      "\(error.path): \(error.reason). \(error.advice)"
    case .hubID(let name, let path):
      "\(path): no such directory, and no snapshot of it in the Hub's cache here (HF_HOME). zerofs downloads nothing: for the "
        + "Hub's \(name) run `hf download \(name)`, and give its name again or the directory that it prints."
    case .danglingLink(let path, let target):
      "\(path): a link to \(JSON.excerpt(target)), which is missing. The download is incomplete, or the link was copied "
        + "without its file (cp -L, rsync -L copy files)."
    case .linkLeaves(let path, let target):
      "\(path): a link to \(JSON.excerpt(target)), outside of the model directory. If that is meant, give --follow-links."
    case .notADirectory(let path, let given): "\(path): \(given.advice)"
    case .noModel(let path, let other): "\(path): \(other.advice(path))"
    case .foreignFile(let path, let kind): "\(path): \(kind.advice)"
    case .malformedJSON(let path, let why):
      "\(path): \(why). Download or save the model again."
    case .dtype(let name, let path):
      "\(path): the model's dtype is \(name), which no run trains in. Give --dtype bf16, fp16 or fp32."
    case .layers(let configured, let held, let path):
      "\(path): says \(configured) layers, and the files hold \(held). "
        + "Check that config.json belongs to these weights and that no shard is missing from the index."
    case .malformedSafetensors(let path, let why):
      "\(path): not a valid safetensors file: \(why). Download or save the model again."
    case .truncated(let path, let expected, let actual):
      "\(path): holds \(actual) bytes where its header describes \(expected). "
        + "The download is incomplete; fetch the file again."
    case .tooLong(let path, let expected, let actual):
      "\(path): holds \(actual) bytes, \(actual - expected) more than its header describes. "
        + "The tensors may be intact, but the format forbids more: fetch the file again, or save the model again."
    case .missingShard(let path, let tensor):
      "\(path): no such file, but the index says that it holds \(JSON.excerpt(tensor)). "
        + "The download is incomplete; fetch the missing shard."
    case .shardOutsideDirectory(let index, let tensor, let shard):
      "\(index): weight_map places \(JSON.excerpt(tensor)) in \"\(JSON.excerpt(shard))\", which leaves the directory. "
        + "zerofs reads nothing outside of it; correct the index."
    case .missingTensor(let name, let directory, let reason):
      "\(directory): no tensor \(name), which config.json implies. \(reason.advice)"
    case .notInShard(let tensor, let path):
      "\(path): no tensor \(JSON.excerpt(tensor)), although the index says so. Download index and shards of one revision."
    case .wrongShape(let tensor, let path, let shape, let expected):
      "\(path): \(tensor) has shape \(shape); config.json implies \(expected). "
        + "Check that config.json belongs to these weights."
    case .wrongDType(let tensor, let path, let dtype):
      "\(path): \(JSON.excerpt(tensor)) has dtype \(dtype); zerofs serves floating-point weights of 16, 32 and 64 bits. "
        + "Save the model in one of these (a quantized model must be dequantized first)."
    case .unexpectedTensor(let name, let path):
      "\(path): tensor \(JSON.excerpt(name)) has no place in this model family. Leaving it out would change the model."
    }
  }
}

extension SourceError.MissingReason {
  fileprivate var advice: String {
    switch self {
    case .unknown:
      "Check that config.json belongs to these weights and that no shard is missing from the index."
    case .prefix(let prefix):
      "All names begin with \(prefix): the model was saved inside a wrapper (DDP, torch.compile, PEFT). Save the module inside "
        + "it, or rename the tensors."
    case .packedWeights:
      "The files hold packed weights (.qweight), which can't be trained on. Take the model that was quantized, or dequantize this."
    case .unmergedAdapter:
      "The files hold a PEFT adapter's layers beside the model's. Merge them (merge_and_unload()) and save the model again."
    case .architecture(let name):
      "The files are of a \(name), which has no language model's output layer: a run of Megatron-DeepSpeed needs one."
    case .untied:
      "The files have no output layer, and config.json doesn't say that the embedding is one. If the model is tied, set "
        + "tie_word_embeddings to true in config.json."
    }
  }
}

extension ReadError {
  /// What to do about it, by its cause.
  fileprivate var advice: String {
    switch self {
    case .io(_, _, let code):
      switch code {
      case ENOENT: "Give a directory with config.json and *.safetensors, as save_pretrained writes it."
      case ENOTDIR: "Give the model's directory."
      case EACCES, EPERM: "zerofs reads as the user who runs it: let that user read it."
      case EMFILE, ENFILE: "A model needs one open file for each shard: raise the limit (ulimit -n)."
      case ENOTCONN: "The mount there has lost its process: unmount it (fusermount3 -u), and mount it again."
      case ELOOP: "Replace the link by the file."
      case EISDIR, EINVAL: "A regular file belongs there."
      default: "The file system refuses it; look into the kernel's log."
      }
    case .sourceChanged, .endOfFile, .damaged: "Read it again when nobody writes to it."
    case .tooLarge: "No model has such a file: check what it is."
    }
  }
}
