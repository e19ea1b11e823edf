import Bytes
import HuggingFace

/// What DeepSpeed's estimators say that the states of a model need, from the headers of its files alone (DeepSpeed
/// `runtime/zero/stage_1_and_2.py`: `estimate_zero2_model_states_mem_needs_all_live`; `runtime/zero/stage3.py`:
/// `estimate_zero3_model_states_mem_needs_all_live`, which need the model itself in memory).
package struct MemoryEstimate: Sendable {
  /// The class that transformers loads the model as: `AutoModel` has no output layer.
  package enum Loading: String, Sendable, CaseIterable {
    case autoModel = "AutoModel"
    case causalLM = "AutoModelForCausalLM"
  }

  /// A line of the table.
  package struct Line: Sendable, Equatable {
    /// Bytes of a node's memory, and of one GPU's.
    package let cpu: Int
    package let gpu: Int
    /// As DeepSpeed writes them: `offload_param=cpu , offload_optimizer=none, zero_init=1`.
    package let options: String
  }

  package let nodes: Int
  package let gpusPerNode: Int
  package let totalParameters: Int
  /// Parameters of the largest module by itself.
  package let largestLayer: Int

  /// `additional_buffer_factor`.
  private static let bufferFactor = 1.5

  package init(nodes: Int, gpusPerNode: Int, totalParameters: Int, largestLayer: Int) {
    (self.nodes, self.gpusPerNode) = (nodes, gpusPerNode)
    (self.totalParameters, self.largestLayer) = (totalParameters, largestLayer)
  }

  /// Of the model in `directory`. Parameters are its floating-point tensors but for those that every implementation computes.
  ///
  /// - Throws: `SourceError.unreadable`.
  package init(_ directory: HuggingFaceDirectory, _ loading: Loading, nodes: Int, gpusPerNode: Int)
    throws(SourceError)
  {
    var modules: [Substring: Int] = [:]
    let isTied = try ParameterOrder.isTied(directory)
    let holdsEmbedding =
      ModelFamily(modelType: directory.configurationFile.modelType).map {
        directory.locates($0.wordEmbeddings)
      } ?? true
    for name in directory.foreignTensors(besides: []) {
      guard let count = (try? directory.tensor(name))?.count else { continue }
      let isHead = ParameterOrder.isOutputLayer(name)
      // A tied head is the embedding's parameter once more, and counted once; it may be what the files hold of it.
      if isHead && (isTied ? holdsEmbedding : loading == .autoModel) { continue }
      let module = name.lastIndex(of: ".").map { name[..<$0] } ?? name[...]
      modules[module, default: 0] += count
    }
    self.init(
      nodes: nodes, gpusPerNode: gpusPerNode, totalParameters: modules.values.reduce(0, +),
      largestLayer: modules.values.max() ?? 0)
  }

  // MARK: - The tables

  /// `estimate_zero2_model_states_mem_needs`, with the optimizer offloaded and not.
  package var zero2: [Line] {
    let total = Double(totalParameters)
    let gpus = gpusPerNode * nodes
    return [
      Line(
        cpu: Int(total * Double(max(4 * gpus, 16)) * Self.bufferFactor), gpu: 2 * totalParameters,
        options: "offload_optimizer=cpu "),
      Line(
        cpu: Int(total * 4 * Double(gpusPerNode) * Self.bufferFactor),
        gpu: 2 * totalParameters + Int(18 * total / Double(gpus)), options: "offload_optimizer=none"),
    ]
  }

  /// `estimate_zero3_model_states_mem_needs`, by what is offloaded and whether the model is made under `zero.Init`.
  package var zero3: [Line] {
    let total = Double(totalParameters)
    let gpus = Double(gpusPerNode * nodes)
    let perNode = 1 / Double(nodes)
    let layer = 4 * largestLayer
    func line(_ parameters: String, _ optimizer: String, zeroInit: Bool, cpu: Double, gpu: Int) -> Line {
      Line(
        cpu: Int(cpu * Self.bufferFactor), gpu: gpu,
        options: "offload_param=\(parameters), offload_optimizer=\(optimizer), zero_init=\(zeroInit ? 1 : 0)")
    }
    let copies = Double(4 * gpusPerNode)
    return [
      line("cpu ", "cpu ", zeroInit: true, cpu: total * 18 * perNode, gpu: layer),
      line("cpu ", "cpu ", zeroInit: false, cpu: total * max(copies, 18 * perNode), gpu: layer),
      line("none", "cpu ", zeroInit: true, cpu: total * 16 * perNode, gpu: layer + Int(2 * total / gpus)),
      line(
        "none", "cpu ", zeroInit: false, cpu: total * max(copies, 16 * perNode),
        gpu: layer + Int(2 * total / gpus)),
      line(
        "none", "none", zeroInit: true, cpu: Double(layer) * Double(gpusPerNode),
        gpu: layer + Int(18 * total / gpus)),
      line("none", "none", zeroInit: false, cpu: total * copies, gpu: layer + Int(18 * total / gpus)),
    ]
  }

  /// What DeepSpeed prints, character by character.
  package func text(stage: Int) -> String {
    let millions = Int(Double(totalParameters) / 1e6)
    let software =
      "SW: Model with \(millions)M total params"
      + (stage == 3 ? ", \(Int(Double(largestLayer) / 1e6))M largest layer params." : ".")
    let lines = (stage == 3 ? zero3 : zero2).map { line in
      " \(gibibytes(line.cpu, width: 7))GB | \(gibibytes(line.gpu, width: 6))GB | \(line.options)"
    }
    return """
      Estimated memory needed for params, optim states and gradients for a:
      HW: Setup with \(nodes) node\(nodes > 1 ? "s" : ""), \(gpusPerNode) GPU\(gpusPerNode > 1 ? "s" : "") per node.
      \(software)
        per CPU  |  per GPU |   Options

      """ + lines.joined(separator: "\n")
  }
}

/// `f"{bytes / 2**30:{width}.2f}"`.
func gibibytes(_ bytes: Int, width: Int) -> String {
  // Python rounds the exact binary value, half to even; hundredths of a GiB of bytes are exact in a Double.
  let hundredths = (Double(bytes) / 1_073_741_824 * 100).rounded(.toNearestOrEven)
  let whole = Int(hundredths)
  let text = "\(whole / 100).\(String(whole % 100, digits: 2))"
  return String(repeating: " ", count: max(0, width - text.count)) + text
}
