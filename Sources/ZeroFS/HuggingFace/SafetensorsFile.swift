import Bytes

/// A safetensors file of lazy tensors, as huggingface/safetensors writes it (`safetensors/src/tensor.rs`: `prepare`,
/// `serialize`): the inverse of `SafetensorsHeader`.
package struct SafetensorsFile: Sendable {
  package typealias Tensor = (name: String, tensor: TensorExpression)

  package let file: VirtualFile

  package init(_ tensors: [Tensor]) {
    // Widest elements first, then by name, so that each is aligned.
    let tensors = tensors.sorted {
      ($1.tensor.dtype.size, $0.name) < ($0.tensor.dtype.size, $1.name)
    }
    var header = #"{"__metadata__":{"format":"pt"}"#
    var end = 0
    for (name, tensor) in tensors {
      let shape = tensor.shape.map(String.init).joined(separator: ",")
      header +=
        ",\(JSON.quoted(name)):{\"dtype\":\"\(tensor.dtype.rawValue)\",\"shape\":[\(shape)],"
        + "\"data_offsets\":[\(end),\(end + tensor.bytes)]}"
      end += tensor.bytes
    }
    header += "}"
    // The data start at a multiple of eight bytes.
    let padding = (8 - header.utf8.count % 8) % 8
    let text = Array(header.utf8) + [UInt8](repeating: UInt8(ascii: " "), count: padding)
    let length = withUnsafeBytes(of: UInt64(text.count).littleEndian) { Array($0) }
    file = VirtualFile([.literal(length + text)] + tensors.flatMap(\.tensor.extents))
  }
}

/// How `save_pretrained` spreads tensors over files (huggingface_hub `serialization/_base.py`:
/// `split_state_dict_into_shards_factory`): in their order, each shard as full as the limit allows.
package struct ShardedTensors: Sendable {
  /// transformers 4's `max_shard_size`, in bytes.
  package static let maxShardBytes = 5_000_000_000

  package let shards: [(name: String, tensors: [SafetensorsFile.Tensor])]
  package let bytes: Int

  package init(_ tensors: [SafetensorsFile.Tensor], maxBytes: Int = maxShardBytes) {
    var groups: [[SafetensorsFile.Tensor]] = [[]]
    var size = 0
    for tensor in tensors {
      if size + tensor.tensor.bytes > maxBytes && !groups[groups.count - 1].isEmpty {
        groups.append([])
        size = 0
      }
      groups[groups.count - 1].append(tensor)
      size += tensor.tensor.bytes
    }
    let count = groups.count
    shards = groups.enumerated().map { index, tensors in
      (
        count == 1
          ? "model.safetensors"
          : "model-\(String(index + 1, digits: 5))-of-\(String(count, digits: 5)).safetensors", tensors
      )
    }
    bytes = tensors.reduce(0) { $0 + $1.tensor.bytes }
  }

  /// `model.safetensors.index.json`; `nil` for one file.
  package var index: String? {
    guard shards.count > 1 else { return nil }
    let places = shards.flatMap { shard in shard.tensors.map { ($0.name, shard.name) } }.sorted { $0 < $1 }
    let lines = places.map { "    \(JSON.quoted($0.0)): \"\($0.1)\"" }
    return "{\n  \"metadata\": {\n    \"total_size\": \(bytes)\n  },\n  \"weight_map\": {\n"
      + lines.joined(separator: ",\n") + "\n  }\n}\n"
  }
}
