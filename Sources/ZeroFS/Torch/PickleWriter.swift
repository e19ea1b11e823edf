import Bytes

/// Writes a `PickleValue` as pickle protocol 2 (CPython `Lib/pickletools.py`), which `torch.save` uses. Tensors become
/// persistent ids; their storages are collected on the side (PyTorch `torch/serialization.py`: `_save`).
struct PickleWriter {
  private(set) var bytes: [UInt8] = []
  /// The bytes of each storage, by its key.
  private(set) var storages: [[Extent]] = []
  /// Strings and globals already written, which later uses refer to.
  private var memo: [String: Int] = [:]

  static func write(_ value: PickleValue) -> PickleWriter {
    var writer = PickleWriter()
    writer.memo.reserveCapacity(256)
    writer.bytes += [0x80, 2]  // PROTO
    writer.write(value)
    writer.op(".")  // STOP
    return writer
  }

  private mutating func op(_ code: Unicode.Scalar) { bytes.append(UInt8(code.value)) }

  private mutating func little(_ value: UInt32) {
    withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
  }

  private mutating func write(_ value: PickleValue) {
    switch value {
    case .none: op("N")
    case .bool(let value): bytes += [0x88 + (value ? 0 : 1)]
    case .int(let value): int(value)
    case .float(let value):
      op("G")  // BINFLOAT, big-endian
      withUnsafeBytes(of: value.bitPattern.bigEndian) { bytes.append(contentsOf: $0) }
    case .string(let text): string(text)
    case .bytes(let bytes): latin1(bytes)
    case .tuple(let values): tuple(values)
    case .list(let values):
      op("]")
      if !values.isEmpty { marked("e", values) }  // APPENDS
    case .set(let values): call(.global(module: "__builtin__", name: "set"), [.list(values)], "R")
    case .dict(let members):
      op("}")
      setItems(members)
    case .orderedDict(let members):
      call(.global(module: "collections", name: "OrderedDict"), [], "R")
      setItems(members)
    case .global(let module, let name): global(module, name)
    case .reduce(let callable, let arguments): call(callable, arguments, "R")  // REDUCE
    case .new(let type, let arguments): call(type, arguments, "\u{81}")  // NEWOBJ
    case .build(let object, let state):
      write(object)
      write(state)
      op("b")  // BUILD
    case .tensor(let tensor, let requiresGrad):
      rebuildTensor(tensor.extents, tensor.dtype, shape: tensor.shape, requiresGrad: requiresGrad)
    case .literalTensor(let literal, let dtype, let shape):
      rebuildTensor([.literal(literal)], dtype, shape: shape, requiresGrad: false)
    }
  }

  /// Protocol 2 has no bytes: Python 3 writes them as Latin-1 text (CPython `Lib/pickle.py`: `save_bytes`).
  private mutating func latin1(_ bytes: [UInt8]) {
    let text = String(String.UnicodeScalarView(bytes.map { Unicode.Scalar($0) }))
    call(.global(module: "_codecs", name: "encode"), [.string(text), .string("latin1")], "R")
  }

  private mutating func call(_ callable: PickleValue, _ arguments: [PickleValue], _ code: Unicode.Scalar) {
    write(callable)
    tuple(arguments)
    op(code)
  }

  private mutating func int(_ value: Int) {
    switch value {
    case 0...0xFF:
      op("K")
      bytes.append(UInt8(value))
    case 0...0xFFFF:
      op("M")
      bytes += [UInt8(value & 0xFF), UInt8(value >> 8)]
    case Int(Int32.min)...Int(Int32.max):
      op("J")
      little(UInt32(bitPattern: Int32(value)))
    default:
      bytes += [0x8A, 8]  // LONG1, eight bytes of two's complement
      withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }
  }

  private mutating func string(_ text: String) {
    if recall(text) { return }
    op("X")
    little(UInt32(text.utf8.count))
    bytes.append(contentsOf: text.utf8)
    memoize(text)
  }

  private mutating func global(_ module: String, _ name: String) {
    let line = "\(module)\n\(name)\n"
    if recall(line) { return }
    op("c")
    bytes.append(contentsOf: line.utf8)
    memoize(line)
  }

  private mutating func recall(_ key: String) -> Bool {
    guard let index = memo[key] else { return false }
    if index < 256 {
      op("h")
      bytes.append(UInt8(index))
    } else {
      op("j")
      little(UInt32(index))
    }
    return true
  }

  private mutating func memoize(_ key: String) {
    let index = memo.count
    memo[key] = index
    if index < 256 {
      op("q")
      bytes.append(UInt8(index))
    } else {
      op("r")
      little(UInt32(index))
    }
  }

  private mutating func marked(_ end: Unicode.Scalar, _ values: [PickleValue]) {
    op("(")
    for value in values { write(value) }
    op(end)
  }

  private mutating func tuple(_ values: [PickleValue]) {
    switch values.count {
    case 0: op(")")
    case 1...3:
      for value in values { write(value) }
      bytes.append(UInt8(0x84 + values.count))  // TUPLE1, TUPLE2, TUPLE3
    default: marked("t", values)
    }
  }

  private mutating func setItems(_ members: [(key: PickleValue, value: PickleValue)]) {
    if members.isEmpty { return }
    op("(")
    for (key, value) in members {
      write(key)
      write(value)
    }
    op("u")  // SETITEMS
  }

  /// `torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, backward_hooks)`, with the storage as a
  /// persistent id (`"storage"`, class, key, location, elements).
  private mutating func rebuildTensor(_ extents: [Extent], _ dtype: DType, shape: [Int], requiresGrad: Bool) {
    global("torch._utils", "_rebuild_tensor_v2")
    op("(")
    op("(")
    string("storage")
    global("torch", dtype.torchStorageClass)
    string("\(storages.count)")
    string("cpu")
    int(shape.reduce(1, *))
    op("t")
    op("Q")  // BINPERSID
    int(0)
    tuple(shape.map { .int($0) })
    var stride = 1
    var strides: [PickleValue] = []
    for size in shape.reversed() {
      strides.append(.int(stride))
      stride *= max(size, 1)
    }
    tuple(strides.reversed())
    write(.bool(requiresGrad))
    write(.orderedDict([]))
    op("t")
    op("R")
    storages.append(extents)
  }
}
