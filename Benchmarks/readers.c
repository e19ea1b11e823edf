// Threads that read a file together, each an equal part of its first bytes into memory of its own, in requests of 1 MiB: prints
// the seconds it took.
// In C, because Python's threads wait for each other's interpreter lock.
//
//   readers FILE BYTES THREADS
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { REQUEST = 1 << 20 };

static const char *path;
static off_t part;

static void *read_part(void *index) {
  int file = open(path, O_RDONLY);
  char *buffer = mmap(NULL, part, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  off_t start = (off_t)index * part;
  for (off_t done = 0; done < part; done += REQUEST)
    if (pread(file, buffer + done, REQUEST, start + done) != REQUEST) perror(path), exit(1);
  munmap(buffer, part);
  close(file);
  return NULL;
}

int main(int count, char *arguments[]) {
  if (count != 4) return fprintf(stderr, "usage: readers FILE BYTES THREADS\n"), 2;
  path = arguments[1];
  size_t threads = atoi(arguments[3]);
  part = atoll(arguments[2]) / threads / REQUEST * REQUEST;
  pthread_t ids[threads];
  struct timespec start, end;
  clock_gettime(CLOCK_MONOTONIC, &start);
  for (size_t index = 0; index < threads; index++) pthread_create(&ids[index], NULL, read_part, (void *)index);
  for (size_t index = 0; index < threads; index++) pthread_join(ids[index], NULL);
  clock_gettime(CLOCK_MONOTONIC, &end);
  printf("%.9f\n", end.tv_sec - start.tv_sec + (end.tv_nsec - start.tv_nsec) * 1e-9);
}
