/* LD_PRELOAD for slow.c: the holes of a sparse model read as a pattern of small bf16 numbers, which depends on the place in the file.
   cc -O2 -shared -fPIC */
#define _GNU_SOURCE
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

static void fill(unsigned char *bytes, off_t start, off_t end) {
    for (off_t place = start; place < end; place++) {
        uint32_t mixed = (uint32_t)(place >> 1) * 2654435761u >> 13;
        /* The upper byte of a number below 1. */
        bytes[place - start] = place & 1 ? mixed >> 8 & 0x3f : mixed & 0xff;
    }
}

ssize_t pread(int file, void *buffer, size_t size, off_t offset) {
    ssize_t count = syscall(SYS_pread64, file, buffer, size, offset);
    for (off_t place = offset, end = offset + count; place < end;) {
        off_t hole = lseek(file, place, SEEK_HOLE);
        if (hole < 0 || hole >= end) break;
        off_t data = lseek(file, hole, SEEK_DATA);
        if (data < 0 || data > end) data = end;
        fill((unsigned char *)buffer + (hole - offset), hole, data);
        place = data;
    }
    return count;
}
