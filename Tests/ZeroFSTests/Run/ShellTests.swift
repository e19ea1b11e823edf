import Testing

@testable import Bytes
@testable import Run

/// Scripts in miniature. What bash makes of them stands beside; Tests/conformance/test_scripts.py asks bash itself.
@Suite struct ShellTests {
  private func words(_ text: String, _ environment: [String: String] = [:]) throws -> String {
    let program = RunProgram(name: "MDS", isFlag: { $0.hasPrefix("--") }, training: [])
    return try RunText(text, program, environment: environment).recorded
  }

  @Test(arguments: [
    ("A=1\nif [ $A -gt 1 ]; then B=--x; else B=--y; fi\np t.py $B", "--y"),
    ("case ${W:-a} in a|b) Z=1 ;; *) Z=2 ;; esac\np t.py --z $Z", "--z 1"),
    ("f() { local A=2; p t.py --a $A $1; }\nA=1\nf 3", "--a 2 3"),
    ("for i in 1 2; do O+=(--i$i); done\np t.py \"${O[@]}\"", "--i1 --i2"),
    ("eval \"p t.py --a '1 2'\"", "--a '1 2'"),
    ("export A=1; B=2; bash -c 'p t.py --a $A${B:-none}'", "--a 1none"),
    ("bash <<EOF\np t.py --a\nEOF", "--a"),
    ("cat > j.sh <<'E'\np t.py --a $1\nE\nbash j.sh 7", "--a 7"),
    (
      "A=abc.tar.gz; p t.py --a ${A%%.*} ${A#*.} ${A/b/x} ${A:1:2} ${#A} ${A^^}",
      "--a abc tar.gz axc.tar.gz bc 10 ABC.TAR.GZ"
    ),
    ("declare -A M=([s]=1 [b]=2); K=b; p t.py --a ${M[$K]}", "--a 2"),
    ("p t.py --a $((2 + 3 * 4 % 5 - (1 << 2))) $((3 > 2 ? 7 : 8))", "--a 0 7"),
    ("while read -r a b; do L=$b; done <<< '1 2'\np t.py --l $L", "--l 2"),
    ("p t.py --a\nexit\np t.py --b", "--a"),
    ("N=$(hostname)\nif [ $N = x ]; then p t.py --a; else q t.py --a; fi", "--a"),
    ("if [ ! -d /nonexistent ]; then echo no; exit 1; fi\np t.py --a", "--a"),
  ])
  func asBash(script: String, expected: String) throws {
    #expect(try words(script) == expected)
  }

  @Test(arguments: [
    "p t.py --a \\\n# --b \\\n  --c", "p t.py --a; p t.py --b", "A='", "if true; then p t.py --a",
    "D=<Specify path>\np t.py --a",
    "[[ a =~ b ]] && p t.py --a", "coproc x; p t.py --a", "f() { f; }; f", "while true; do :; done",
    "A=x; while true; do A=\"$A$A\"; done; p t.py --a", "echo hello",
  ])
  func refused(script: String) {
    #expect(throws: (any Error).self) { try words(script) }
  }

  /// Loops are followed, but not so far that anyone would wait for it.
  @Test func longLoops() throws {
    func script(_ count: Int) -> String { "for i in $(seq \(count)); do A=$i; done\np t.py --a $A" }
    #expect(try words(script(2000)) == "--a 2000")
    #expect(throws: ShellError.tooLong(1)) { try words(script(ShellRecord.maxSteps)) }
    #expect(throws: ShellError.tooLong(1)) { try words("p t.py --a $(seq \(Int.min) \(Int.max))") }
    #expect(throws: ShellError.tooLong(1)) {
      try words("i=0; while (( i < 3 )); do i?$((i+1)); done\np t.py --a")
    }
  }

  /// A branch that only the run can decide leaves open what it sets, and only that.
  @Test func openBranches() throws {
    let script = "A=1; B=1\nif [[ $(hostname) == x* ]]; then B=2; fi\np t.py --a $A --b $B"
    let program = RunProgram(name: "MDS", isFlag: { $0.hasPrefix("--") }, training: [])
    let words = try RunText(script, program).words
    #expect(words.map(ShellUnknown.asWritten) == ["--a", "1", "--b", "$B"])
    #expect(ShellUnknown.parts(of: words[3]).map(\.line) == [2])
  }

  /// A file that isn't here may have set anything before it.
  @Test func missingSource() throws {
    let script = "A=1\nsource ./missing-env.sh\nB=2\np t.py --a $A --b $B --c ${C:-3}"
    let program = RunProgram(name: "MDS", isFlag: { $0.hasPrefix("--") }, training: [])
    let words = try RunText(script, program).words
    #expect(words.map(ShellUnknown.isIn) == [false, true, false, false, false, true])
  }

  @Test func defaultsThatMatterAreNamed() throws {
    let program = RunProgram(name: "MDS", isFlag: { $0.hasPrefix("--") }, training: [])
    let notes = try RunText("A=${A:-1}; L=${LOG:-x}\np t.py --a $A > $L", program).notes
    #expect(notes.count == 1 && notes[0].contains("A (line 1)") && !notes[0].contains("LOG"))
    #expect(try words("p t.py --a ${A:-1}", ["A": "5"]) == "--a 5")
  }

  /// Nothing outside of the working directory is read, and nothing is written.
  @Test func nothingElseIsRead() throws {
    let program = RunProgram(name: "MDS", isFlag: { $0.hasPrefix("--") }, training: [])
    let words = try RunText("p t.py --a $(cat /etc/passwd) $(< /etc/hostname)", program).words
    #expect(words.dropFirst().allSatisfy(ShellUnknown.isIn))
  }

  @Test func lastWholeBlockOfALog() throws {
    func block(_ seed: Int) -> String {
      "--- arguments ---\n  seed ...... \(seed)\n--- end of arguments ---\n"
    }
    let log =
      "random_ltd ....... [NO] ..... [OKAY]\n" + block(1) + "\u{1B}[32m" + block(2)
      + "--- arguments ---\n  seed .... 3\n"
    #expect(try MegatronArguments(commandLine: log)["seed"] == .int(2))
    #expect(throws: RunError.log("the block of arguments is cut off")) {
      try MegatronArguments(commandLine: "--- arguments ---\n  seed .... 3\n")
    }
    let ranks = try MegatronArguments(
      commandLine: "--- arguments ---\n  data_parallel_size .... 4\n  seed .... 3\n--- end of arguments ---")
    #expect(ranks.dataParallelSize == 4)
  }

  @Test func integersAsPythonReadsThem() {
    #expect(ArgumentValue.int(python: "2_000_000") == 2_000_000)
    #expect(ArgumentValue.int(python: "2__0") == nil && ArgumentValue.int(python: "_2") == nil)
  }

  @Test func equalInFloat32() {
    let epsilon = ArgumentValue.float(9.999999747378752e-06)
    #expect(epsilon.equals(.float(1e-5), inFloat32: true) && !epsilon.equals(.float(1e-5)))
    #expect(!epsilon.equals(.float(1.1e-5), inFloat32: true))
  }
}
