/* LD_PRELOAD for zerofs: a node of 64 processors, on a machine of a few. What copies a window waits for WAIT_US instead, on no
   processor; all else that the daemon does for a read, locks included, it does.
   cc -O2 -shared -fPIC */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Shorter ones aren't windows of `processors.py`. */
enum { LEAST = 2048 };

static __thread long waits;

static void copying(size_t count) {
    if (count < LEAST) return;
    long us = atol(getenv("WAIT_US"));
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    nanosleep(&(struct timespec){us / 1000000, us % 1000000 * 1000}, NULL);
    waits++;
}

ssize_t pread(int file, void *buffer, size_t size, off_t offset) {
    copying(size);
    return syscall(SYS_pread64, file, buffer, size, offset);
}

ssize_t writev(int file, const struct iovec *pieces, int count) {
    size_t size = 0;
    for (int index = 0; index < count; index++) size += pieces[index].iov_len;
    copying(size);
    return syscall(SYS_writev, file, pieces, count);
}

/* Waiting here isn't waiting for a source. */
int getrusage(__rusage_who_t who, struct rusage *usage) {
    int result = syscall(SYS_getrusage, who, usage);
    if (who == RUSAGE_THREAD) usage->ru_nvcsw -= waits;
    return result;
}

/* How many processors there are the daemon learns there. */
int open(const char *path, int flags, ...) {
    if (strcmp(path, "/proc/self/status") == 0) {
        static const char status[] = "Cpus_allowed:\tffffffff,ffffffff\n";
        int file = memfd_create("status", 0);
        write(file, status, sizeof status - 1);
        lseek(file, 0, SEEK_SET);
        return file;
    }
    va_list more;
    va_start(more, flags);
    int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, int) : 0;
    va_end(more);
    return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
