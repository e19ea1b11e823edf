import Glibc

/// `strerror(code)`.
package func errnoMessage(_ code: Int32) -> String {
  String(cString: strerror(code))
}
