import Synchronization

final class Locked<Value: Sendable>: Sendable {
  private let content: Mutex<Value>
  init(_ value: Value) { content = Mutex(value) }
  var value: Value { content.withLock { $0 } }
}

extension Locked {
  func append<Element: Sendable>(_ element: Element) where Value == [Element] {
    content.withLock { $0.append(element) }
  }
}
