extension Int {
  /// As a number of bytes: `1.2 GB`; powers of ten.
  package var bytesText: String {
    var (value, unit) = (Double(self), "bytes")
    for next in ["kB", "MB", "GB", "TB"] where value >= 1000 { (value, unit) = (value / 1000, next) }
    return unit == "bytes" ? "\(self) bytes" : "\((value * 10).rounded() / 10) \(unit)"
  }
}
