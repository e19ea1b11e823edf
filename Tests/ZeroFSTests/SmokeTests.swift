import Testing
@testable import ZeroFS

@Test func dtypeSizes() { #expect(DType.bfloat16.size == 2) }
