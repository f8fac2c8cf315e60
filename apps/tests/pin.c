// SPDX-License-Identifier: MIT OR Apache-2.0

// pin NODE MIB: fills so much memory of a NUMA node, and keeps a page in each 2 MiB of it from moving, as memory
// that a device works on can't move: pages in a pipe are referenced (vmsplice(2)). Until it is killed.

#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define STEP (2UL << 20)

// Pages that a pipe takes, by default.
#define PIPE_PAGES 16

int main(int argc, char **argv)
{
    if (argc != 3)
        errx(2, "usage: pin NODE MIB");
    unsigned long nodes = 1UL << atoi(argv[1]);
    size_t len = strtoul(argv[2], NULL, 10) << 20;
    char *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        err(1, "mmap");
    if (syscall(SYS_mbind, memory, len, MPOL_BIND, &nodes, 64UL, 0UL))
        err(1, "mbind");
    memset(memory, 1, len);

    int ends[2];
    for (size_t at = 0, pages = 0; at < len; at += STEP, pages++) {
        struct iovec page = {memory + at, 4096};
        if (pages % PIPE_PAGES == 0 && pipe(ends))
            err(1, "pipe");
        if (vmsplice(ends[1], &page, 1, SPLICE_F_NONBLOCK) != 4096)
            err(1, "vmsplice");
    }
    puts("pinned");
    fflush(stdout);
    pause();
}
