import Testing

@testable import Bytes
@testable import Checkpoints

/// Expected digests: FNV-1a of the bytes that CPython 3.12, numpy 2 and torch 2.13 hold after the same
/// seeding.
struct RandomStateTests {
  @Test(
    arguments: [
      (1, 0xc2f4_1cae_6c0e_54ae, 0x834a_b109_98cf_4401, 0x4564_22ec_1d64_0de8),
      (1234, 0xff04_f005_f673_801a, 0x8802_2216_fab7_f58e, 0x378d_ce74_bb1d_706c),
      (1334, 0xf2dc_4f69_bfa4_b3e5, 0xa4f1_28ce_cf05_7cd8, 0x522f_4983_00e7_c539),
      (4_294_967_295, 0xceae_f9c3_8cbc_3cda, 0xe03d_99ed_557f_45ea, 0x87c6_a0fa_da4b_3186),
    ] as [(Int, UInt64, UInt64, UInt64)])
  func seeding(seed: Int, python: UInt64, numpy: UInt64, torch: UInt64) throws {
    let state = try RandomState.megatron(seed: seed, pp: 0, tp: 0, dp: 0, device: .cpu)
    #expect(state.python.count == 625 && state.python.last == 624)
    #expect(fnv(state.python.flatMap(littleEndian)) == python)
    #expect(fnv(state.numpyKey.flatMap(littleEndian)) == numpy)
    #expect(state.numpyPosition == 624)
    #expect(state.torchState.count == 5056)
    #expect(fnv(state.torchState) == torch)
    #expect(state.deviceState == state.torchState)
  }

  /// The first three are trackers of the golden trees (tp 1; tp 2, rank 1; tp 2 pp 2, last rank).
  @Test(
    arguments: [
      (3952, 233_472, 0x9f49_28c2_bac0_7e37), (3953, 124_928, 0x511d_c182_215c_68c8),
      (4053, 62_464, 0x0942_28ae_fd67_0300), (3952, 1, 0x3b66_fd10_1b01_6617),
      (3952, 624, 0xe548_15aa_ac28_3337),
      (3952, 625, 0xe9c2_11b3_262b_0e56), (3952, 3_000_000_017, 0xbd43_44f9_2ff2_d66b),
    ] as [(UInt64, Int, UInt64)])
  func advancing(seed: UInt64, draws: Int, digest: UInt64) {
    #expect(fnv(RandomState.cpuGeneratorState(seed: seed, draws: draws)) == digest)
  }

  @Test func advancingTwiceIsAdvancingOnce() {
    var once = MersenneTwister(seed: 5)
    var twice = once
    once.advance(words: 1_000_000)
    twice.advance(words: 123_457)
    twice.advance(words: 1_000_000 - 123_457)
    #expect(once == twice)
  }

  @Test func seedsOfRanks() throws {
    let state = try RandomState.megatron(seed: 1234, pp: 1, tp: 3, dp: 2, device: .cuda)
    #expect(state.deviceState == [0x36, 0x05] + [UInt8](repeating: 0, count: 14))  // 1334
    #expect(state.tracker == [0xD7, 0x0F] + [UInt8](repeating: 0, count: 14))  // 1334 + 2718 + 3 = 4055
    let random = try RandomState.megatron(
      seed: 1234, pp: 1, tp: 3, dp: 2, dataParallelRandomInit: true, device: .xpu)
    #expect(random.deviceState == [0x4A, 0x05] + [UInt8](repeating: 0, count: 14))  // 1354
  }

  @Test(arguments: [0, -1, Int.max, 1 << 32])
  func seedOutOfRange(seed: Int) {
    #expect(throws: RandomStateError.self) { try RandomState.megatron(seed: seed, pp: 1, tp: 0, dp: 0) }
  }

  @Test func drawsOfInitialization() {
    #expect(RandomState.initializationDraws(elementCount: 1600, dtype: .float32) == 1600)
    #expect(RandomState.initializationDraws(elementCount: 100, dtype: .float32) == 116)
    #expect(RandomState.initializationDraws(elementCount: 100, dtype: .bfloat16) == 112)
  }

  private func littleEndian(_ word: UInt32) -> [UInt8] {
    (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) }
  }

  private func fnv(_ bytes: [UInt8]) -> UInt64 {
    bytes.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
  }
}
