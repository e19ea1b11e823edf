import Testing

@testable import Store

@Suite struct ShareTests {
  private struct Item: Hashable {
    let name: String
    let bytes: Int
  }

  /// Each item belongs to one process, in whatever order they are listed; no two loads are further apart than one item.
  @Test(arguments: [1, 2, 3, 4, 7, 64], [UInt64(1), 2, 3])
  func partition(world: Int, seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let items = (0..<Int.random(in: 0..<200, using: &generator)).map {
      Item(name: "file \($0)", bytes: Int.random(in: 0..<[10, 1 << 40][Int($0 % 2)], using: &generator))
    }
    let shares = try (0..<world).map { rank in
      try Share(rank: rank, world: world).items(
        of: items.shuffled(using: &generator), bytes: \.bytes, name: \.name)
    }
    #expect(shares.reduce(0) { $0 + $1.count } == items.count)
    #expect(Set(shares.joined()) == Set(items), "seed \(seed)")
    for share in shares { #expect(share.map(\.bytes) == share.map(\.bytes).sorted(by: >)) }
    let loads = shares.map { $0.reduce(0) { $0 + $1.bytes } }
    #expect((loads.max() ?? 0) - (loads.min() ?? 0) <= items.map(\.bytes).max() ?? 0, "seed \(seed)")
  }

  @Test func one() {
    #expect(Share.whole.items(of: ["b", "a"], bytes: { _ in 1 }, name: { $0 }) == ["a", "b"])
  }

  @Test(arguments: [(-1, 2), (2, 2), (0, 0), (0, -1)])
  func outside(rank: Int, world: Int) {
    #expect(throws: TargetError.share(rank: rank, world: world)) { try Share(rank: rank, world: world) }
  }

  @Test(
    arguments: [
      (["PALS_RANKID": "2", "PALS_SIZE": "5"], (2, 5)), (["PALS_RANKID": "2", "PMI_SIZE": "6"], (2, 6)),
      (["PMI_RANK": "0", "PMI_SIZE": "4"], (0, 4)),
      (["OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4"], (3, 4)),
      (["SLURM_PROCID": "1", "SLURM_NTASKS": "8"], (1, 8)),
      (["SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS": "8"], (1, 2)),
      (["SLURM_PROCID": "1", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "9", "SLURM_STEP_ID": "0"], (1, 8)),
      // A batch script, and a shell in a session of a job.
      (["SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "9"], nil),
      (["SLURM_NTASKS": "8", "SLURM_JOB_ID": "9"], nil),
      // mpiexec in a batch script; mpirun whose daemon srun started.
      (
        ["SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "9", "PMI_RANK": "7", "PMI_SIZE": "8"],
        (7, 8)
      ),
      (
        [
          "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_JOB_ID": "9", "SLURM_STEP_ID": "0",
          "OMPI_COMM_WORLD_RANK": "5", "OMPI_COMM_WORLD_SIZE": "8",
        ], (5, 8)
      ),
      ([:], nil), (["PMI_RANK": "1"], nil), (["PMI_SIZE": "2"], nil),
      (["PMI_RANK": "x", "PMI_SIZE": "2"], nil),
    ] as [([String: String], (Int, Int)?)])
  func launched(environment: [String: String], expected: (Int, Int)?) throws {
    let share = try expected.map { try Share(rank: $0.0, world: $0.1) }
    #expect(try Share.launched { environment[$0] } == share)
  }

  @Test func launchedWrongly() {
    #expect(throws: TargetError.share(rank: 4, world: 4)) {
      try Share.launched { ["PMI_RANK": "4", "PMI_SIZE": "4"][$0] }
    }
  }
}
