import Bytes
import Glibc

#if FUZZING
  /// What libFuzzer's `main` calls with each input; `ZEROFS_FUZZ` names the harness.
  @_cdecl("LLVMFuzzerTestOneInput")
  public func fuzzerTestOneInput(_ bytes: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    // A fault for run.sh to find: if it doesn't, it finds nothing else either.
    if size > 2, bytes?[0] == 0x50, bytes?[1] != 0x4B, getenv("ZEROFS_FUZZ_CANARY") != nil {
      fatalError("canary")
    }
    run(Array(UnsafeBufferPointer(start: bytes, count: size)), chosen)
    return 0
  }

  private let chosen: Harness = {
    let name = getenv("ZEROFS_FUZZ").map { String(cString: $0) }
    guard let harness = name.flatMap(Harness.init) else { fatalError("ZEROFS_FUZZ: \(Harness.names)") }
    return harness
  }()
#else
  /// `zerofs-fuzz HARNESS FILE…` reads each file once: a corpus, or what a fuzzer found.
  @main struct Main {
    static func main() {
      let arguments = CommandLine.arguments
      guard arguments.count > 1, let harness = Harness(rawValue: arguments[1]) else {
        print("usage: zerofs-fuzz \(Harness.names) FILE…")
        exit(64)
      }
      // All before the first is run, which takes this process to a directory of its own.
      let inputs = arguments.dropFirst(2).map { path -> [UInt8] in
        do { return try SourceFile.contents(of: path) } catch {
          print(error)
          exit(66)
        }
      }
      for input in inputs { run(input, harness) }
      print("\(harness.rawValue): \(inputs.count) inputs")
    }
  }
#endif

private let fixture: Fixture = {
  do {
    atexit { fixture.remove() }
    return try Fixture()
  } catch { fatalError("\(error)") }
}()

/// Bytes of the longest message.
private let maxMessage = 4096
/// Of the processor's time, for one input.
private let maxSeconds = 1

/// Refusals are `Failure`s with a message of a reasonable length; anything else ends the program.
private func run(_ input: [UInt8], _ harness: Harness) {
  let start = clock()
  defer {
    if (clock() - start) / Int(CLOCKS_PER_SEC) >= maxSeconds { fatalError("took \(maxSeconds) s or more") }
  }
  do {
    try harness.run(input, fixture)
  } catch let error as any Failure {
    let message = error.description
    if message.utf8.count > maxMessage {
      fatalError("a message of \(message.utf8.count) bytes: \(message.prefix(200))")
    }
  } catch {
    fatalError("not a Failure: \(error)")
  }
}
