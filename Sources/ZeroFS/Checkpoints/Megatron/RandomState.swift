import Bytes

/// The kind of accelerator MDS runs on: what the states of its device generators look like.
package enum AcceleratorKind: String, Codable, CaseIterable, Sendable {
  case cuda, xpu, cpu
}

/// A seed that MDS or one of its generators refuses.
package enum RandomStateError: Failure, Equatable {
  case seedOutOfRange(seed: Int, rankSeed: Int)

  package var exitStatus: ExitStatus {
    switch self {
    case .seedOutOfRange: .run
    }
  }

  package var description: String {
    switch self {
    case .seedOutOfRange(let seed, let rankSeed):
      "--seed \(seed) gives a rank the seed \(rankSeed), but Megatron-DeepSpeed needs a positive seed and "
        + "numpy one below 2^32; give a smaller positive --seed"
    }
  }
}

/// What one rank's random generators hold: the entries of `rng_state` (MDS megatron/checkpointing.py:
/// get_rng_state).
///
/// They are the states that seeding leaves (megatron/initialize.py: _set_random_seed). Up to the first step
/// MDS draws from one generator only: weights are initialised under the tracker's 'model-parallel-rng'. So at
/// step 0 `python`, `numpyKey`, `torchState` and (cuda and xpu: up to an offset that depends on the hardware;
/// cpu: exactly) `deviceState` are fresh, and `tracker` has advanced by the draws of the initialisation.
package struct RandomState: Equatable, Sendable {
  /// `random.getstate()[1]`, 625 numbers: 624 words, then the position in them.
  package let python: [UInt32]
  /// `np.random.get_state()[1]`, 624 words.
  package let numpyKey: [UInt32]
  /// `np.random.get_state()[2]`.
  package let numpyPosition: Int
  /// `torch.get_rng_state()`, 5056 bytes.
  package let torchState: [UInt8]
  /// `get_accelerator().get_rng_state()`: 16 bytes on cuda and xpu; on cpu this is torch's own generator, so
  /// `torchState`.
  package let deviceState: [UInt8]
  /// `rng_tracker_states["model-parallel-rng"]`, as long as `deviceState`.
  package let tracker: [UInt8]

  /// The state of the rank (pp, tp, dp) at step 0.
  ///
  /// Seeds (megatron/initialize.py: _set_random_seed; megatron/core/tensor_parallel/random.py:
  /// model_parallel_cuda_manual_seed; deepspeed.checkpointing has the same rule): `seed + 100 pp`, plus `10
  /// dp` if `--data-parallel-random-init`; the tracker's is 2718 + tp above that.
  /// - Parameters:
  ///   - seed: `--seed`, MDS's default 1234.
  ///   - trackerDraws: words that initialisation has drawn from the tracker: the sum of `initializationDraws`
  ///     over the rank's tensor-parallel weights (embedding, QKV, dense, MLP, output layer), whole ones also
  ///     at ZeRO stage 3;
  ///     0 for the state right after seeding, and with `--no-initialization`. Used on cpu only: on cuda and
  ///     xpu the offset
  ///     grows by a number that depends on the device's core count, so the tracker stays as seeded.
  package static func megatron(
    seed: Int = 1234, pp: Int, tp: Int, dp: Int, dataParallelRandomInit: Bool = false,
    device: AcceleratorKind = .cuda,
    trackerDraws: Int = 0
  ) throws(RandomStateError) -> RandomState {
    let (shifted, overflow) = seed.addingReportingOverflow(100 * pp + (dataParallelRandomInit ? 10 * dp : 0))
    guard seed > 0, !overflow, let rankSeed = UInt32(exactly: shifted) else {
      throw .seedOutOfRange(seed: seed, rankSeed: shifted)
    }
    let trackerSeed = UInt64(rankSeed) + 2718 + UInt64(tp)
    let python = MersenneTwister(key: [rankSeed])
    let numpy = MersenneTwister(seed: rankSeed)
    let torchState = cpuGeneratorState(seed: UInt64(rankSeed))
    let onCPU = device == .cpu
    return RandomState(
      python: python.block + [UInt32(python.position)],
      numpyKey: numpy.block,
      numpyPosition: numpy.position,
      torchState: torchState,
      deviceState: onCPU ? torchState : philoxGeneratorState(seed: UInt64(rankSeed)),
      tracker: onCPU
        ? cpuGeneratorState(seed: trackerSeed, draws: trackerDraws) : philoxGeneratorState(seed: trackerSeed))
  }

  /// 32-bit words that `torch.nn.init.normal_` takes from the CPU generator for a contiguous tensor: one per
  /// element, in sixteens. Where the count is no multiple of 16, float32 draws the last 16 elements again,
  /// and the narrow types round up (ATen/native/cpu/DistributionTemplates.h: normal_fill).
  /// - Parameter elementCount: 16 or more, as all weights have; below that torch draws otherwise.
  package static func initializationDraws(elementCount: Int, dtype: DType) -> Int {
    if elementCount % 16 == 0 { return elementCount }
    return dtype == .float32 ? elementCount + 16 : (elementCount / 16 + 1) * 16
  }

  /// `torch.get_rng_state()` after `torch.manual_seed(seed)` and `draws` 32-bit draws, 5056 bytes,
  /// little-endian (ATen/CPUGeneratorImpl.cpp: CPUGeneratorImplStateLegacy, CPUGeneratorImplState;
  /// ATen/core/MT19937RNGEngine.h).
  static func cpuGeneratorState(seed: UInt64, draws: Int = 0) -> [UInt8] {
    var twister = MersenneTwister(seed: UInt32(truncatingIfNeeded: seed))
    twister.advance(words: draws)
    // A fresh engine has `left_` 1 like one at the end of its block, but `next_` 0.
    let next = draws == 0 ? 0 : twister.position
    let left = MersenneTwister.blockWords + 1 - twister.position
    var bytes: [UInt8] = []
    bytes.reserveCapacity(5056)
    append(seed, to: &bytes)
    append(UInt32(left), to: &bytes)
    append(UInt32(1), to: &bytes)  // seeded_
    append(UInt64(next), to: &bytes)
    for word in twister.block { append(UInt64(word), to: &bytes) }
    // Cached normal samples: x, y, rho (doubles), is_valid (int, padded), and the float one with its flag
    // (padded). None.
    bytes += [UInt8](repeating: 0, count: 3 * 8 + 8 + 8)
    return bytes
  }

  /// `torch.cuda.get_rng_state()` or `torch.xpu.get_rng_state()` after `manual_seed(seed)`, 16 bytes: seed
  /// and Philox offset (ATen/cuda/CUDAGeneratorImpl.cpp, ATen/xpu/XPUGeneratorImpl.cpp: get_state).
  static func philoxGeneratorState(seed: UInt64) -> [UInt8] {
    var bytes: [UInt8] = []
    append(seed, to: &bytes)
    append(UInt64(0), to: &bytes)
    return bytes
  }

  private static func append(_ value: some FixedWidthInteger, to bytes: inout [UInt8]) {
    withUnsafeBytes(of: value.littleEndian) { bytes += $0 }
  }
}
