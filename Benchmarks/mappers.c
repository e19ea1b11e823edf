// Processes that map a file privately and touch every page of it, all at once, as ranks load safetensors: prints the seconds
// until the last one has.
//
//   mappers FILE PROCESSES
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096 };

static void touch(const char *path, int start) {
  char go;
  int file = open(path, O_RDONLY);
  struct stat status;
  if (file < 0 || fstat(file, &status) || read(start, &go, 1) != 0) perror(path), exit(1);
  const volatile char *pages = mmap(NULL, status.st_size, PROT_READ, MAP_PRIVATE, file, 0);
  if (pages == MAP_FAILED) perror(path), exit(1);
  for (off_t place = 0; place < status.st_size; place += PAGE) (void)pages[place];
  exit(0);
}

int main(int count, char *arguments[]) {
  if (count != 3) return fprintf(stderr, "usage: mappers FILE PROCESSES\n"), 2;
  int processes = atoi(arguments[2]), start[2], status;
  if (pipe(start)) return perror("pipe"), 1;
  for (int index = 0; index < processes; index++)
    if (fork() == 0) close(start[1]), touch(arguments[1], start[0]);
  struct timespec begin, end;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  close(start[1]);  // They read its end.
  for (int index = 0; index < processes; index++)
    if (wait(&status) < 0 || status) return 1;
  clock_gettime(CLOCK_MONOTONIC, &end);
  printf("%.9f\n", end.tv_sec - begin.tv_sec + (end.tv_nsec - begin.tv_nsec) * 1e-9);
}
