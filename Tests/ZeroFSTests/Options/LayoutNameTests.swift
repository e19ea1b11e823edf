import Testing

@testable import Bytes
@testable import Checkpoints

@Suite struct LayoutNameTests {
  @Test(arguments: [
    "tp2", "pp3", "dp12", "zero0", "zero3", "bf16", "fp16", "fp32", "pipe", "nopipe", "it5", "it0", "div128",
    "padzero", "padmean", "tied", "untied", "universal", "nouniversal",
    "tp2-pp1-dp3-zero1-fp16-pipe-it7-div1-padmean-untied-nouniversal",
  ]) func eachWordIsWrittenAsRead(name: String) throws {
    #expect(LayoutName(name)?.description == name)
  }

  @Test func wordsSetTheirOption() throws {
    let name = try #require(
      LayoutName("universal-untied-padmean-div64-it9-nopipe-fp16-zero2-dp4-pp5-tp8"))
    let options = name.options
    #expect(options.tp == 8 && options.pp == 5 && options.dp == 4 && options.zeroStage == 2)
    #expect(options.dtype == .fp16 && options.noPipelineParallel == true && options.iteration == 9)
    #expect(options.makeVocabSizeDivisibleBy == 64 && options.vocabPadding == .mean)
    #expect(options.untieEmbeddingsAndOutputWeights == true && options.universalCheckpoint == true)
    #expect(name.description == "tp8-pp5-dp4-zero2-fp16-nopipe-it9-div64-padmean-untied-universal")
    #expect(LayoutName("tp2-dp4") == LayoutName("dp4-tp2"))
    var options4 = CheckpointOptions()
    options4.dp = 4
    #expect(LayoutName("dp4")?.options == options4)
  }

  @Test(arguments: [
    "", "-", "tp", "tp2-", "-tp2", "tp2--dp2", "tp02", "tp-2", "tp+2", "tp2 ", "TP2", "tp2x", "2tp", "tp٢",
    "tp2-tp2", "tp2-tp4", "bf16-fp16", "pipe-nopipe", "tied-untied", "padzero-padmean", "fp8", "zero",
    "tp99999999999999999999", "latest", "global_step0", ".zerofs", ".Trash-1000", "lost+found", "tp2_dp2",
  ]) func otherNamesSpellNoLayout(name: String) { #expect(LayoutName(name) == nil) }

  @Test func sha256() {
    // FIPS 180-4's examples, and the padding's borders.
    #expect(
      SHA256([]).hexadecimal == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    #expect(
      SHA256("abc".utf8).hexadecimal == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    #expect(
      SHA256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq".utf8).hexadecimal
        == "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1")
    #expect(
      SHA256([UInt8](repeating: 97, count: 1000)).hexadecimal
        == "41edece42d63e8d9bf515a9ba6932e1c20cbc9f5a5d134645adb5db1b9737ea3")
    #expect(SHA256("abc".utf8).prefix == 0xba78_16bf_8f01_cfea)
  }
}
