import Bytes
import CFuse
import Glibc
import Logging

func openFile(
  _ request: fuse_req_t?, _ number: fuse_ino_t, _ information: UnsafeMutablePointer<fuse_file_info>?
) {
  guard let information else { return fail(request, EINVAL) }
  let server = FuseServer.serving(request)
  guard let inode = server.superblock[number] else { return fail(request, ENOENT) }
  guard let open = inode.open() else { return fail(request, EISDIR) }
  guard information.pointee.flags & O_ACCMODE == O_RDONLY else { return fail(request, EROFS) }
  let isCached = server.isCached && !inode.isVolatile
  information.pointee.direct_io = isCached ? 0 : 1
  information.pointee.keep_cache = isCached ? 1 : 0
  information.pointee.noflush = 1
  let handle = Unmanaged.passRetained(FileHandle(open, server.cursors))
  information.pointee.fh = UInt64(UInt(bitPattern: handle.toOpaque()))
  // The opener was interrupted: no release will follow.
  if fuse_reply_open(request, information) == -ENOENT { handle.release() }
}

func releaseFile(_ request: fuse_req_t?, _ information: UnsafeMutablePointer<fuse_file_info>?) {
  if let handle = FileHandle.of(information) {
    FuseServer.serving(request).readAhead.forget(handle.takeUnretainedValue())
    handle.release()
  }
  fail(request, 0)
}

func seekFile(
  _ request: fuse_req_t?, _ offset: off_t, _ whence: Int32,
  _ information: UnsafeMutablePointer<fuse_file_info>?
) {
  guard let open = FileHandle.of(information)?.takeUnretainedValue().open else { return fail(request, EBADF) }
  guard whence == SEEK_DATA || whence == SEEK_HOLE else { return fail(request, EINVAL) }
  guard let position = open.file.seek(offset, toHole: whence == SEEK_HOLE) else {
    return fail(request, ENXIO)
  }
  fuse_reply_lseek(request, position)
}

/// Answers a read, then composes the window that its reader will ask for next, and so on.
///
/// One thread may answer the requests of others here. While it composes a window ahead, the reader may ask for just that one, in
/// another thread's callback: `ReadAhead.lend` keeps that request, and the callback returns without an answer. `ReadAhead.end`
/// then hands it to this thread, which goes round again with it.
func readFile(
  _ request: fuse_req_t?, _ size: Int, _ offset: off_t, _ information: UnsafeMutablePointer<fuse_file_info>?
) {
  let server = FuseServer.serving(request)
  guard let handle = FileHandle.of(information)?.takeUnretainedValue() else { return fail(request, EBADF) }
  guard size <= server.readAhead.capacity && offset >= 0 else { return fail(request, EINVAL) }
  let start = min(offset, handle.open.file.count)
  let window = start..<(start + min(size, handle.open.file.count - start))
  let pace = handle.advance(over: window)
  let isCold = handle.prefetch(for: window, pace, server.prefetcher)
  let read = ReadRequest(pointer: request, pace: pace, isCold: isCold)
  guard isCold, let source = handle.open.file.sourceRanges(of: window).first?.file else {
    return serve(ReadRequest(pointer: request, pace: pace, isCold: false), window, of: handle, server)
  }
  guard server.coldReads.begin(request) else { return }
  server.coldReads.run(reading: source) { serve(read, window, of: handle, server) }
}

private func serve(
  _ first: ReadRequest, _ firstWindow: Range<Int>, of handle: FileHandle, _ server: FuseServer
) {
  var (read, window) = (first, firstWindow)
  // Where there is no loan, the thread that composes the window answers.
  guard var loan = server.readAhead.lend(window, of: handle, to: read) else { return }
  while true {
    handle.answering { answer(read, with: window, of: handle.open, from: loan, server) }
    // While the reader takes in what it got, or makes memory for what comes next.
    guard read.pace.isInOrder, read.pace.isUnhurried || loan.buffer.gather.isMostlyBuffered,
      let next = handle.window(after: window), server.readAhead.begin(next, of: handle, in: loan.buffer)
    else { return server.readAhead.giveBack(loan.buffer) }
    let verbatim: Gather.VerbatimRuns = read.pace.isUnhurried || read.isCold ? .copied : .mapped
    // What fails is tried again when it is asked for, and then an error.
    loan.isComposed = (try? handle.open.file.read(next, into: &loan.buffer.gather, verbatim: verbatim)) != nil
    // From here on it is another callback's request that is answered.
    guard let waiting = server.readAhead.end(loan.buffer, isComposed: loan.isComposed) else { return }
    (read, window) = (waiting, next)
  }
}

private func answer(
  _ read: ReadRequest, with window: Range<Int>, of open: OpenFile, from loan: ReadAhead.Loan,
  _ server: FuseServer
) {
  let waits = BlockedThread.count
  do {
    if loan.isComposed {
      try loan.buffer.gather.verifySources()
    } else {
      // A thread that is in a reply, and waits for a mapped piece of it, can't be interrupted.
      try open.file.read(window, into: &loan.buffer.gather, verbatim: read.isCold ? .copied : .mapped)
    }
    guard !read.isCold || server.coldReads.claim(read.pointer) else { return }
    let sent = loan.buffer.gather.pieces.withUnsafeBufferPointer {
      fuse_reply_iov(read.pointer, $0.baseAddress, Int32($0.count))
    }
    // The kernel could not copy a mapped piece, and has answered with EIO; say why.
    if sent != 0 { explainFailedCopy(of: open, loan.buffer.gather, server) }
  } catch {
    server.log(error, reading: open.path)
    if !read.isCold || server.coldReads.claim(read.pointer) { fail(read.pointer, EIO) }
  }
  if BlockedThread.count != waits {
    server.prefetcher.noteWait(for: open.file.sourceRanges(of: window))
  }
}

private func explainFailedCopy(of open: OpenFile, _ gather: borrowing Gather, _ server: FuseServer) {
  do {
    try gather.verifySources()
    server.logFailedCopy(from: gather.sourceNames, reading: open.path)
  } catch {
    server.log(error, reading: open.path)
  }
}

extension FileHandle {
  /// The handle that `openFile` left; retained until `releaseFile`.
  fileprivate static func of(_ information: UnsafeMutablePointer<fuse_file_info>?) -> Unmanaged<FileHandle>? {
    information.flatMap { UnsafeRawPointer(bitPattern: UInt($0.pointee.fh)) }.map { .fromOpaque($0) }
  }
}
