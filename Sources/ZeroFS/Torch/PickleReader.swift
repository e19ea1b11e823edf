import Bytes

/// Reads a pickle of protocol 2 (CPython `Lib/pickletools.py`): the opcodes that `torch.save` uses, as PyTorch's own restricted
/// unpickler does (`torch/_weights_only_unpickler.py`). Nothing is called: what isn't a container, a number or a tensor stays
/// the description of a call.
struct PickleReader {
  private var cursor: FileCursor
  private let source: any ByteSource
  private let storages: (_ key: String) -> Range<Int>?

  /// An object under construction; the memo and other objects refer to it by its index. `children` are such indices.
  private struct Node {
    var kind: Kind
    var children: [Int] = []
    /// Of the opcode, in bytes of the file.
    let offset: Int
  }

  private enum Kind {
    case value(PickleValue)
    case tuple, list
    /// Keys and values in turn.
    case dict, orderedDict
    /// The callable or class, and the tuple of its arguments.
    case reduce, new
    /// The object and its state.
    case build
    /// A persistent id.
    case storage
  }

  /// What a node has become.
  private struct Frozen {
    let value: PickleValue
    /// Values in it, those that occur twice counted twice: a short pickle can describe a value too large to walk.
    let count: Int
    /// Likewise tensors, and bytes of the paths to them.
    let tensors: Int
    let pathBytes: Int
    let depth: Int
  }

  private var nodes: [Node] = []
  private var stack: [Int] = []
  /// Sizes of the stack at each MARK.
  private var marks: [Int] = []
  private var memo: [Int: Int] = [:]
  private var frozen: [Int: Frozen] = [:]
  /// The way to the object that is being frozen, for messages.
  private var steps: [String] = []

  private static let maxNodes = 1 << 22
  /// What occurs once takes a byte at least; all that occurs again, in any checkpoint, is less than this.
  private static let maxRepeated = 1 << 16
  /// All paths to tensors of a file, in bytes: a hundred times what a large checkpoint has.
  private static let maxPathBytes = 1 << 25
  private static let maxDepth = 200

  /// - Parameter storages: the place in `source` of the record of a storage, in bytes.
  init(_ cursor: FileCursor, source: any ByteSource, storages: @escaping (_ key: String) -> Range<Int>?) {
    (self.cursor, self.source, self.storages) = (cursor, source, storages)
  }

  /// A tensor becomes `.tensor`, whether it is a `Parameter` or has attributes of its own, which are left out.
  mutating func read() throws(TorchFileError) -> PickleValue {
    guard try cursor.next(UInt8.self) == 0x80, try cursor.next(UInt8.self) == 2 else {
      throw unsupported("it is not a pickle of protocol 2")
    }
    while try step() {}
    return try freeze(try pop()).value
  }

  /// Executes one instruction; `false` for STOP.
  private mutating func step() throws(TorchFileError) -> Bool {
    let code = Unicode.Scalar(try cursor.next(UInt8.self))
    if code == "." { return false }
    if let value = try constant(code) {
      try push(.value(value))
    } else if try !container(code), try !object(code), try !remember(code) {
      throw cursor.malformed(
        "the opcode before it, 0x\(String(code.value, radix: 16)), is none that torch.save uses")
    }
    return true
  }

  /// NONE, NEWTRUE, NEWFALSE, BININT1, BININT2, BININT, LONG1, BINFLOAT, BINUNICODE, GLOBAL.
  private mutating func constant(_ code: Unicode.Scalar) throws(TorchFileError) -> PickleValue? {
    switch code {
    case "N": return PickleValue.none
    case "\u{88}": return .bool(true)
    case "\u{89}": return .bool(false)
    case "K": return .int(Int(try cursor.next(UInt8.self)))
    case "M": return .int(Int(try cursor.next(UInt16.self)))
    case "J": return .int(Int(try cursor.next(Int32.self)))
    case "\u{8A}":
      let bytes = try cursor.take(Int(try cursor.next(UInt8.self)))
      guard bytes.count <= 8 else {
        throw cursor.malformed("an integer of \(bytes.count) bytes is before it")
      }
      let sign = bytes.last.map { $0 >= 0x80 ? -1 : 0 } ?? 0
      return .int(bytes.reversed().reduce(sign) { $0 << 8 | Int($1) })
    case "G":
      return .float(Double(bitPattern: try cursor.next(UInt64.self).byteSwapped))  // big-endian
    case "X": return .string(try cursor.text(Int(try cursor.next(UInt32.self))))
    case "c":
      let module = try cursor.line()
      return .global(module: module, name: try cursor.line())
    default: return nil
    }
  }

  /// MARK, EMPTY_TUPLE, EMPTY_LIST, EMPTY_DICT, TUPLE to TUPLE3, APPEND, APPENDS, SETITEM, SETITEMS; `false` for others.
  private mutating func container(_ code: Unicode.Scalar) throws(TorchFileError) -> Bool {
    switch code {
    case "(": marks.append(stack.count)
    case ")": try push(.tuple)
    case "]": try push(.list)
    case "}": try push(.dict)
    case "t": try push(.tuple, try popToMark())
    case "\u{85}", "\u{86}", "\u{87}": try push(.tuple, try pop(Int(code.value) - 0x84))
    case "a": try extend(with: [try pop()], isDict: false)
    case "e": try extend(with: try popToMark(), isDict: false)
    case "s": try extend(with: try pop(2), isDict: true)
    case "u": try extend(with: try popToMark(), isDict: true)
    default: return false
    }
    return true
  }

  /// REDUCE, NEWOBJ, BUILD, BINPERSID; `false` for others.
  private mutating func object(_ code: Unicode.Scalar) throws(TorchFileError) -> Bool {
    switch code {
    case "R":
      let call = try pop(2)
      if case .value(.global("collections", "OrderedDict")) = nodes[call[0]].kind,
        case .tuple = nodes[call[1]].kind, nodes[call[1]].children.isEmpty
      {
        try push(.orderedDict)
      } else {
        try push(.reduce, call)
      }
    case "\u{81}": try push(.new, try pop(2))
    case "b":
      // In place, since the object may be in the memo.
      let state = try pop()
      let object = try top()
      try push(nodes[object].kind, nodes[object].children)
      nodes[object] = Node(kind: .build, children: [try pop(), state], offset: nodes[object].offset)
    case "Q": try push(.storage, [try pop()])
    default: return false
    }
    return true
  }

  /// BINPUT, LONG_BINPUT, BINGET, LONG_BINGET; `false` for others.
  private mutating func remember(_ code: Unicode.Scalar) throws(TorchFileError) -> Bool {
    switch code {
    case "q": memo[Int(try cursor.next(UInt8.self))] = try top()
    case "r": memo[Int(try cursor.next(UInt32.self))] = try top()
    case "h": try recall(Int(try cursor.next(UInt8.self)))
    case "j": try recall(Int(try cursor.next(UInt32.self)))
    default: return false
    }
    return true
  }

  private mutating func push(_ kind: Kind, _ children: [Int] = []) throws(TorchFileError) {
    guard nodes.count < PickleReader.maxNodes else {
      throw unsupported("the pickle holds more than \(PickleReader.maxNodes) objects")
    }
    stack.append(nodes.count)
    nodes.append(Node(kind: kind, children: children, offset: cursor.start + cursor.position))
  }

  private func top() throws(TorchFileError) -> Int {
    guard let index = stack.last, stack.count > marks.last ?? 0 else {
      throw cursor.malformed("an instruction of the pickle lacks its operand")
    }
    return index
  }

  private mutating func pop() throws(TorchFileError) -> Int {
    let index = try top()
    stack.removeLast()
    return index
  }

  private mutating func pop(_ count: Int) throws(TorchFileError) -> [Int] {
    var popped: [Int] = []
    for _ in 0..<count { popped.append(try pop()) }
    return popped.reversed()
  }

  private mutating func popToMark() throws(TorchFileError) -> [Int] {
    guard let mark = marks.popLast() else {
      throw cursor.malformed("an instruction of the pickle lacks its mark")
    }
    defer { stack.removeSubrange(mark...) }
    return Array(stack[mark...])
  }

  private mutating func recall(_ key: Int) throws(TorchFileError) {
    guard let index = memo[key] else { throw cursor.malformed("the memo has no entry \(key)") }
    stack.append(index)
  }

  /// APPENDS, SETITEMS and their singular forms.
  private mutating func extend(with items: [Int], isDict: Bool) throws(TorchFileError) {
    let index = try top()
    let fits =
      switch nodes[index].kind {
      case .list: !isDict
      case .dict, .orderedDict: isDict && items.count.isMultiple(of: 2)
      default: false
      }
    guard fits else { throw cursor.malformed("items are added to what is no \(isDict ? "dict" : "list")") }
    nodes[index].children += items
  }

  // MARK: - From nodes to values

  /// - Parameter depth: of the node in the value.
  private mutating func freeze(_ index: Int, depth: Int = 0) throws(TorchFileError) -> Frozen {
    let node = nodes[index]
    if case .value(let value) = node.kind {
      return Frozen(value: value, count: 1, tensors: 0, pathBytes: 0, depth: 1)
    }
    if let done = frozen[index] { return done }
    guard depth < PickleReader.maxDepth else { throw tooDeep(node) }
    var children: [PickleValue] = []
    var (count, tensors, pathBytes, maxDepth) = (1, 0, 0, 0)
    for (position, child) in node.children.enumerated() {
      let step = step(to: position, of: node, children)
      steps.append(step)
      let item = try freeze(child, depth: depth + 1)
      steps.removeLast()
      children.append(item.value)
      count += item.count
      tensors += item.tensors
      pathBytes += item.pathBytes + item.tensors * step.utf8.count
      maxDepth = max(maxDepth, item.depth)
      guard count <= cursor.bytes.count + PickleReader.maxRepeated else {
        throw unsupported("the pickle describes more than \(count) objects in \(cursor.bytes.count) bytes")
      }
      guard pathBytes <= PickleReader.maxPathBytes else {
        throw unsupported("the names of the tensors in it take more than \(pathBytes) bytes")
      }
    }
    guard maxDepth < PickleReader.maxDepth else { throw tooDeep(node) }
    let value = try value(node, children)
    if case .tensor = value { tensors = 1 }
    let done = Frozen(
      value: value, count: count, tensors: tensors, pathBytes: pathBytes, depth: maxDepth + 1)
    frozen[index] = done
    return done
  }

  private func step(to position: Int, of node: Node, _ children: [PickleValue]) -> String {
    switch node.kind {
    case .tuple, .list: "[\(position)]"
    case .dict, .orderedDict: position.isMultiple(of: 2) ? "" : PickleValue.step(children[position - 1])
    default: ""
    }
  }

  private func tooDeep(_ node: Node) -> TorchFileError {
    .malformed(
      path: cursor.path, offset: node.offset,
      why: "an object is nested more than \(PickleReader.maxDepth) deep, or contains itself")
  }

  private func unsupported(_ why: String) -> TorchFileError {
    .unsupported(path: cursor.path, value: PickleValue.path(steps), why: why)
  }

  private func value(_ node: Node, _ children: [PickleValue]) throws(TorchFileError) -> PickleValue {
    func items() -> [(key: PickleValue, value: PickleValue)] {
      stride(from: 0, to: children.count, by: 2).map { (children[$0], children[$0 + 1]) }
    }
    switch node.kind {
    case .value(let value): return value
    case .tuple: return .tuple(children)
    case .list: return .list(children)
    case .dict: return .dict(items: items())
    case .orderedDict: return .orderedDict(items: items())
    case .build: return .build(children[0], state: children[1])
    case .storage: return .tensor(try storage(children[0]), requiresGrad: false)
    case .reduce, .new:
      guard case .tuple(let arguments) = children[1] else {
        throw .malformed(
          path: cursor.path, offset: node.offset, why: "the arguments of a call are no tuple")
      }
      if case .new = node.kind { return .new(class: children[0], arguments: arguments) }
      return try call(children[0], arguments)
    }
  }

  private func call(_ callable: PickleValue, _ arguments: [PickleValue]) throws(TorchFileError) -> PickleValue
  {
    guard case .global(let module, let name) = callable else {
      return .reduce(callable: callable, arguments: arguments)
    }
    switch (module, name) {
    case ("torch._utils", "_rebuild_tensor_v2"): return try tensor(arguments)
    case ("torch._tensor", "_rebuild_from_type_v2"):  // function, type, its arguments, attributes
      if arguments.count == 4, case .tuple(let inner) = arguments[2] { return try call(arguments[0], inner) }
    case ("torch._utils", "_rebuild_parameter"), ("torch._utils", "_rebuild_parameter_with_state"):
      if arguments.count >= 3, case .tensor(let data, _) = arguments[0], case .bool(let grad) = arguments[1] {
        return .tensor(data, requiresGrad: grad)
      }
    case ("_codecs", "encode"):
      if arguments.count == 2, case .string(let text) = arguments[0], case .string("latin1") = arguments[1],
        text.unicodeScalars.allSatisfy({ $0.value <= 0xFF })
      {
        return .bytes(text.unicodeScalars.map { UInt8($0.value) })
      }
    case ("__builtin__", "set"):
      if arguments.count == 1, case .list(let members) = arguments[0] { return .set(members) }
    default: break
    }
    return .reduce(callable: callable, arguments: arguments)
  }

  /// The storage of a persistent id (`"storage"`, class, key, location, elements), `[elements]` (PyTorch
  /// `torch/serialization.py`: `_save`).
  private func storage(_ id: PickleValue) throws(TorchFileError) -> TensorExpression {
    guard case .tuple(let id) = id, id.count == 5, case .string("storage") = id[0],
      case .global("torch", let type) = id[1], case .string(let key) = id[2], case .int(let count) = id[4],
      let dtype = DType.allCases.first(where: { $0.torchStorageClass == type })
    else { throw unsupported("its storage is of a type that zerofs doesn't know") }
    guard let record = storages(key) else { throw unsupported("the file has no record data/\(key)") }
    guard count >= 0, count.multipliedReportingOverflow(by: dtype.size) == (record.count, false) else {
      throw unsupported(
        "its storage has \(count) \(dtype.torchName) elements, and data/\(key) \(record.count) bytes")
    }
    return TensorExpression(source: source, offset: record.lowerBound, shape: [count], dtype: dtype)
  }

  /// `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, backward_hooks)`.
  private func tensor(_ arguments: [PickleValue]) throws(TorchFileError) -> PickleValue {
    func numbers(_ value: PickleValue) -> [Int]? {
      guard case .tuple(let values) = value else { return nil }
      let numbers = values.compactMap { if case .int(let number) = $0, number >= 0 { number } else { nil } }
      return numbers.count == values.count ? numbers : nil
    }
    guard arguments.count == 6, case .tensor(let storage, _) = arguments[0], storage.shape.count == 1,
      case .int(let offset) = arguments[1], offset >= 0, let shape = numbers(arguments[2]),
      let strides = numbers(arguments[3]), strides.count == shape.count, case .bool(let grad) = arguments[4]
    else { throw unsupported("it is not made from a storage, an offset, a shape and strides") }
    var (count, isContiguous) = (1, true)
    for (size, stride) in zip(shape, strides).reversed() {
      if size != 1 && stride != count { isContiguous = false }
      let (product, overflow) = count.multipliedReportingOverflow(by: max(size, 1))
      guard !overflow else { throw unsupported("its shape \(shape) overflows") }
      count = product
    }
    if shape.contains(0) { return .tensor(.zeros(shape, storage.dtype), requiresGrad: grad) }
    guard isContiguous else { throw unsupported("its strides are \(strides) for the shape \(shape)") }
    guard offset <= storage.count, count <= storage.count - offset,
      case .run(let run)? = storage.elements.first
    else {
      throw unsupported(
        "it takes \(count) elements from \(offset) on of a storage that has \(storage.count)")
    }
    return .tensor(
      TensorExpression(
        source: source, offset: run.offset + offset * storage.dtype.size, shape: shape, dtype: storage.dtype),
      requiresGrad: grad)
  }
}
