import Bytes
import Glibc

/// What the Hub's own tools keep on this machine (huggingface_hub `constants.py`: `HF_HUB_CACHE`; `file_download.py`:
/// `try_to_load_from_cache`). Nothing is downloaded.
package enum HubCache {
  /// The snapshot of a model, `org/name` or `org/name@revision`; `nil` where there is none.
  ///
  /// - Parameter variable: the environment's.
  package static func snapshot(
    of model: String, _ variable: (String) -> String? = { getenv($0).map { String(cString: $0) } }
  ) -> String? {
    let parts = model.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    guard let id = DiskDirectory.hubID(parts[0]), let root = root(variable) else { return nil }
    let folder = "\(root)/models--" + id.split(separator: "/").joined(separator: "--")
    let revision = parts.count > 1 ? parts[1] : "main"
    guard !revision.isEmpty, !revision.split(separator: "/").contains("..") else { return nil }
    // A branch or a tag names a commit; a commit names itself.
    let commit = (try? SourceFile.contents(of: "\(folder)/refs/\(revision)")).map {
      String(decoding: $0, as: UTF8.self).filter { !$0.isWhitespace }
    }
    let snapshot = "\(folder)/snapshots/\(commit ?? revision)"
    return access("\(snapshot)/config.json", F_OK) == 0 ? snapshot : nil
  }

  private static func root(_ variable: (String) -> String?) -> String? {
    if let cache = variable("HF_HUB_CACHE") ?? variable("HUGGINGFACE_HUB_CACHE") { return cache }
    if let home = variable("HF_HOME") { return "\(home)/hub" }
    let cache = variable("XDG_CACHE_HOME") ?? variable("HOME").map { "\($0)/.cache" }
    return cache.map { "\($0)/huggingface/hub" }
  }
}
