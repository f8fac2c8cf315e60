// SPDX-License-Identifier: MIT OR Apache-2.0

// Memory of 1 GiB at a multiple of 1 GiB: all of it is touched, by two threads, and then taken apart. With the argument
// "merged" it has to be one page once it has been touched.

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "check.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { LARGE = 2 << 20, PAGE = 4096, COUNT = 512 };
static const size_t HUGE = (size_t)COUNT * LARGE;

static char *memory;

/* A number that is in a place if it has been touched. */
static uint32_t *place(int index)
{
    return (uint32_t *)(memory + (size_t)index * LARGE + PAGE * (size_t)(index % 512));
}

static void *touch(void *first)
{
    for (int index = first ? 1 : 0; index < COUNT; index += 2)
        *place(index) = (uint32_t)index + 1;
    return NULL;
}

/* A line of /proc/self/status, in kB. */
static long status(const char *name)
{
    char line[256];
    long value = -1;
    FILE *file = fopen("/proc/self/status", "r");
    MUST(file);
    while (fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0)
            value = strtol(line + strlen(name) + 1, NULL, 10);
    fclose(file);
    return value;
}

/* How many places hold something else than they should, but for those of some large pages. */
static int wrong(int from, int to)
{
    int count = 0;
    for (int index = 0; index < COUNT; index++)
        count += (index < from || index >= to) && *place(index) != (uint32_t)index + 1;
    return count;
}

static char *reserve(size_t shift)
{
    char *start = mmap(NULL, 3 * HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    MUST(start != MAP_FAILED);
    return (char *)(((uintptr_t)start + HUGE - 1) & ~(HUGE - 1)) + shift;
}

int main(int argc, char **argv)
{
    bool merged = argc > 1 && strcmp(argv[1], "merged") == 0;
    memory = reserve(0);
    CHECK(mprotect(memory, HUGE, PROT_READ | PROT_WRITE) == 0);
    pthread_t thread;
    CHECK_IS(pthread_create(&thread, NULL, touch, memory), 0);
    touch(NULL);
    CHECK_IS(pthread_join(thread, NULL), 0);
    CHECK_IS(wrong(0, 0), 0);
    long tables = status("VmPTE:");

    /* A small page that can't be written splits it twice, which takes two tables, and the rest stays. */
    char *page = memory + 100 * (size_t)LARGE + 7 * PAGE;
    CHECK(mprotect(page, PAGE, PROT_READ) == 0);
    if (merged)
        CHECK_IS(status("VmPTE:") - tables, 8);
    CHECK_IS(wrong(0, 0), 0);
    CHECK(mprotect(page, PAGE, PROT_READ | PROT_WRITE) == 0);
    page[5] = 6;
    CHECK_IS(page[5], 6);

    /* Given back: it reads as zeros, the rest as before. */
    CHECK(madvise(memory + 200 * (size_t)LARGE, 3 * (size_t)LARGE, MADV_DONTNEED) == 0);
    for (int index = 200; index < 203; index++)
        CHECK_IS(*place(index), 0);
    CHECK_IS(wrong(200, 203), 0);
    for (int index = 200; index < 203; index++)
        *place(index) = (uint32_t)index + 1;

    /* Moved to another place, where no page can be as large. */
    char *to = reserve(LARGE + PAGE);
    CHECK(mremap(memory, HUGE, HUGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
    memory = to;
    CHECK_IS(wrong(0, 0), 0);
    CHECK(munmap(memory, HUGE) == 0);
    CHECK(status("VmRSS:") < (long)(HUGE >> 11));
    puts("all there");
    return 0;
}
