import Glibc

/// The part of a tree that one of several processes writes.
package struct Share: Sendable, Equatable {
  package let rank: Int
  package let world: Int

  package static let whole = Share(unchecked: 0, 1)

  private init(unchecked rank: Int, _ world: Int) { (self.rank, self.world) = (rank, world) }

  /// - Throws: `TargetError.share` unless 0 ≤ rank < world.
  package init(rank: Int, world: Int) throws(TargetError) {
    guard rank >= 0 && rank < world else { throw .share(rank: rank, world: world) }
    self.init(unchecked: rank, world)
  }

  /// What a launcher says of the process in its environment: its rank, and how many there are. `nil` outside of one.
  ///
  /// In a batch script of Slurm's, which isn't a process of a step, SLURM_PROCID is 0 and SLURM_NTASKS that of steps to come.
  package static func launched(
    _ variable: (String) -> String? = { getenv($0).map { String(cString: $0) } }
  ) throws(TargetError) -> Share? {
    for (rank, sizes) in launchers {
      guard let rank = variable(rank).flatMap({ Int($0) }),
        let size = sizes.compactMap({ variable($0).flatMap { Int($0) } }).first
      else { continue }
      if sizes == slurmSizes, variable("SLURM_JOB_ID") != nil, variable("SLURM_STEP_ID") == nil { continue }
      return try Share(rank: rank, world: size)
    }
    return nil
  }

  private static let slurmSizes = ["SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"]
  /// HPE Cray PALS, PMI (MPICH, Intel MPI), Open MPI, Slurm. Under Slurm Open MPI's mpirun starts a daemon on each node with
  /// srun, whose variables the processes inherit: Slurm comes last.
  private static let launchers = [
    ("PALS_RANKID", ["PALS_SIZE", "PMI_SIZE"]), ("PMI_RANK", ["PMI_SIZE"]),
    ("OMPI_COMM_WORLD_RANK", ["OMPI_COMM_WORLD_SIZE"]), ("SLURM_PROCID", slurmSizes),
  ]

  /// The items of this share: each, from the largest on, goes to the process with the least so far, so that each process comes
  /// to the same answer without asking another.
  func items<Item>(of all: [Item], bytes: (Item) -> Int, name: (Item) -> String) -> [Item] {
    var loads = [Int](repeating: 0, count: world)
    return all.sorted { (-bytes($0), name($0)) < (-bytes($1), name($1)) }.filter { item in
      let least = loads.indices.min { loads[$0] < loads[$1] } ?? 0
      loads[least] += bytes(item)
      return least == rank
    }
  }
}
