import Glibc

/// The share that a launcher's variables give a process, and which ones.
///
/// They are believed only as far as a tree goes: a shell inherits them, and then nobody runs the other ranks. So whoever writes
/// such a share says where it is from, and it isn't a success until the other ranks were seen (`ShareLedger`).
package struct LaunchedShare: Sendable, Equatable, CustomStringConvertible {
  package let share: Share
  /// The variables that the rank and the number of processes are from.
  package let variables: (rank: String, world: String)

  package static func == (one: LaunchedShare, other: LaunchedShare) -> Bool {
    one.share == other.share && one.variables == other.variables
  }

  package var description: String {
    "rank \(share.rank) of \(share.world) by \(variables.rank) and \(variables.world)"
  }

  /// What the environment says; `nil` outside of a launcher.
  ///
  /// - Parameter ofTorch: whether torchrun and DeepSpeed's launcher count. They start training, and nothing else.
  /// - Throws: `TargetError.share` for numbers that contradict each other.
  package static func find(
    ofTorch: Bool = false, _ variable: (String) -> String? = { getenv($0).map { String(cString: $0) } }
  ) throws(TargetError) -> LaunchedShare? {
    for (rank, sizes) in launchers + (ofTorch ? [("RANK", ["WORLD_SIZE"])] : []) {
      guard let number = variable(rank).flatMap({ Int($0) }),
        let (size, world) = sizes.compactMap({ name in
          variable(name).flatMap { Int($0) }.map { (name, $0) }
        }).first
      else { continue }
      if sizes == slurmSizes && !isTaskOfSlurm(variable) { continue }
      return LaunchedShare(share: try Share(rank: number, world: world), variables: (rank, size))
    }
    return nil
  }

  /// Whether Slurm's variables are those of a task that srun started, one of many.
  ///
  /// Not so in a batch script and in the shell that salloc starts on a node: they are in no step, or in one of Slurm's own
  /// (`slurm.h`: SLURM_BATCH_SCRIPT, SLURM_INTERACTIVE_STEP, from 0xfffffff0 on), SLURM_PROCID is 0 and SLURM_NTASKS that of
  /// steps to come. Nor in the shell of `srun --pty`, task 0 of a step whose other tasks nobody sees (`srun`: SLURM_PTY_PORT).
  private static func isTaskOfSlurm(_ variable: (String) -> String?) -> Bool {
    if variable("SLURM_PTY_PORT") != nil { return false }
    guard let step = variable("SLURM_STEP_ID") else { return variable("SLURM_JOB_ID") == nil }
    return UInt32(step).map { $0 < 0xFFFF_FFF0 } ?? false
  }

  private static let slurmSizes = ["SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"]
  /// HPE Cray PALS, PMI (MPICH, Intel MPI), Open MPI, Slurm. Under Slurm Open MPI's mpirun starts a daemon on each node with
  /// srun, whose variables the processes inherit: Slurm comes last.
  private static let launchers = [
    ("PALS_RANKID", ["PALS_SIZE", "PMI_SIZE"]), ("PMI_RANK", ["PMI_SIZE"]),
    ("OMPI_COMM_WORLD_RANK", ["OMPI_COMM_WORLD_SIZE"]), ("SLURM_PROCID", slurmSizes),
  ]
}
