import Testing

@testable import Store

@Suite struct LaunchedShareTests {
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
      // The same as steps of Slurm's own; the shell of srun --pty, and mpiexec in it.
      (["SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "9", "SLURM_STEP_ID": "4294967291"], nil),
      (["SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "9", "SLURM_STEP_ID": "4294967290"], nil),
      (
        [
          "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "8", "SLURM_JOB_ID": "9", "SLURM_STEP_ID": "0",
          "SLURM_PTY_PORT": "40000",
        ], nil
      ),
      (
        [
          "SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "9", "SLURM_STEP_ID": "0",
          "PMI_RANK": "3",
          "SLURM_PTY_PORT": "40000", "PMI_SIZE": "4",
        ], (3, 4)
      ),
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
    #expect(try LaunchedShare.find { environment[$0] }?.share == share)
  }

  /// A shell may have inherited them: they count where training begins.
  @Test func ofTorch() throws {
    let environment = ["RANK": "1", "WORLD_SIZE": "4"]
    #expect(try LaunchedShare.find { environment[$0] } == nil)
    #expect(try LaunchedShare.find(ofTorch: true) { environment[$0] }?.share == Share(rank: 1, world: 4))
  }

  @Test func launchedWrongly() {
    #expect(throws: TargetError.share(rank: 4, world: 4)) {
      try LaunchedShare.find { ["PMI_RANK": "4", "PMI_SIZE": "4"][$0] }
    }
  }

  @Test func saysWhichVariables() throws {
    let environment = ["PALS_RANKID": "2", "PMI_SIZE": "6", "PMI_RANK": "1"]
    let launched = try #require(try LaunchedShare.find { environment[$0] })
    #expect("\(launched)" == "rank 2 of 6 by PALS_RANKID and PMI_SIZE")
  }
}
