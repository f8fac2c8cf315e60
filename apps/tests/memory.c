// SPDX-License-Identifier: MIT OR Apache-2.0

// `fault mem`: mappings come zeroed, keep their contents, and go.

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"

#define PAGE ((size_t)4096)
#define MIB ((size_t)1 << 20)

int memory_test(void);

static void *map(size_t len, int prot)
{
    return mmap(NULL, len, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static int is_filled(const unsigned char *at, size_t len, unsigned char value)
{
    for (size_t i = 0; i < len; i++)
        if (at[i] != value)
            return 0;
    return 1;
}

/* A fault would end the program; a system call that reads a path says whether there is memory. */
static int is_readable(const void *at)
{
    return access(at, F_OK) == 0 || errno != EFAULT;
}

static int maps_and_unmaps(void)
{
    unsigned char *a = map(5 * PAGE, PROT_READ | PROT_WRITE);
    CHECK(a != MAP_FAILED && ((uintptr_t)a & (PAGE - 1)) == 0);
    CHECK(is_filled(a, 5 * PAGE, 0));
    memset(a, 0x5a, 5 * PAGE);
    CHECK(munmap(a + 2 * PAGE, PAGE) == 0);
    CHECK(is_filled(a, 2 * PAGE, 0x5a) && is_filled(a + 3 * PAGE, 2 * PAGE, 0x5a));
    CHECK(!is_readable(a + 2 * PAGE));
    /* The hole comes back empty. */
    void *hole = mmap(a + 2 * PAGE, PAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    CHECK(hole == a + 2 * PAGE && is_filled(hole, PAGE, 0));
    CHECK(is_filled(a, 2 * PAGE, 0x5a) && is_filled(a + 3 * PAGE, 2 * PAGE, 0x5a));
    /* MAP_FIXED replaces what was there. */
    CHECK(mmap(a, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == a);
    CHECK(is_filled(a, PAGE, 0) && is_filled(a + PAGE, PAGE, 0x5a));
    CHECK(munmap(a, 5 * PAGE) == 0);
    CHECK(munmap(a, 5 * PAGE) == 0);
    CHECK_ERRNO(munmap(a + 1, PAGE), EINVAL);
    CHECK(map(0, PROT_READ) == MAP_FAILED && errno == EINVAL);
    CHECK(map((size_t)1 << 60, PROT_READ) == MAP_FAILED && errno == ENOMEM);
    return 0;
}

static int protects(void)
{
    unsigned char *a = map(4 * PAGE, PROT_READ | PROT_WRITE);
    CHECK(a != MAP_FAILED);
    memset(a, 7, 4 * PAGE);
    CHECK(mprotect(a + PAGE, PAGE, PROT_NONE) == 0);
    CHECK(!is_readable(a + PAGE) && a[0] == 7 && a[2 * PAGE] == 7);
    CHECK(mprotect(a + PAGE, PAGE, PROT_READ | PROT_WRITE) == 0);
    CHECK(is_filled(a, 4 * PAGE, 7));
    a[PAGE] = 8;
    CHECK(mprotect(a, 4 * PAGE, PROT_READ) == 0);
    CHECK(a[PAGE] == 8);
    int zero = open("/dev/zero", O_RDONLY);
    CHECK(zero >= 0);
    CHECK_ERRNO(read(zero, a, 1), EFAULT);
    CHECK(munmap(a, 4 * PAGE) == 0);
    CHECK_ERRNO(mprotect(a, PAGE, PROT_READ), ENOMEM);
    close(zero);
    return 0;
}

static int reservations_cost_nothing(void)
{
    size_t len = (size_t)64 << 30;
    unsigned char *a = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(a != MAP_FAILED);
    CHECK(mprotect(a + len / 2, MIB, PROT_READ | PROT_WRITE) == 0);
    CHECK(is_filled(a + len / 2, MIB, 0));
    memset(a + len / 2, 1, MIB);
    CHECK(munmap(a, len) == 0);
    return 0;
}

static int remaps(void)
{
    unsigned char *a = map(2 * PAGE, PROT_READ | PROT_WRITE);
    CHECK(a != MAP_FAILED);
    memset(a, 3, 2 * PAGE);
    unsigned char *b = mremap(a, 2 * PAGE, 600 * PAGE, MREMAP_MAYMOVE);
    CHECK(b != MAP_FAILED);
    CHECK(is_filled(b, 2 * PAGE, 3) && is_filled(b + 2 * PAGE, 598 * PAGE, 0));
    memset(b, 4, 600 * PAGE);
    CHECK(mremap(b, 600 * PAGE, PAGE, 0) == b);
    CHECK(is_filled(b, PAGE, 4) && !is_readable(b + PAGE));
    CHECK(munmap(b, PAGE) == 0);
    return 0;
}

static int large_mappings(void)
{
    size_t len = 24 * MIB;
    unsigned char *a = map(len, PROT_READ | PROT_WRITE);
    CHECK(a != MAP_FAILED);
    CHECK(is_filled(a, len, 0));
    for (size_t i = 0; i < len; i += PAGE)
        *(size_t *)(a + i) = i;
    /* A hole in the middle of a large page. */
    CHECK(munmap(a + 5 * MIB + PAGE, 3 * PAGE) == 0);
    for (size_t i = 0; i < len; i += PAGE)
        if (i <= 5 * MIB || i >= 5 * MIB + 4 * PAGE)
            CHECK(*(size_t *)(a + i) == i);
    CHECK(munmap(a, len) == 0);
    /* Memory that is given back comes zeroed, as often as one likes. */
    for (int round = 0; round < 20; round++) {
        a = map(len, PROT_READ | PROT_WRITE);
        CHECK(a != MAP_FAILED);
        CHECK(is_filled(a, len, 0));
        memset(a, 0xee, len);
        CHECK(munmap(a, len) == 0);
    }
    return 0;
}

static int discards(void)
{
    unsigned char *a = map(4 * MIB, PROT_READ | PROT_WRITE);
    CHECK(a != MAP_FAILED);
    memset(a, 9, 4 * MIB);
    CHECK(madvise(a + PAGE, 2 * MIB, MADV_DONTNEED) == 0);
    CHECK(is_filled(a, PAGE, 9) && is_filled(a + PAGE, 2 * MIB, 0));
    CHECK(is_filled(a + PAGE + 2 * MIB, 2 * MIB - PAGE, 9));
    CHECK(munmap(a, 4 * MIB) == 0);
    return 0;
}

static int moves_the_break(void)
{
    unsigned char *start = (unsigned char *)syscall(SYS_brk, 0);
    CHECK(syscall(SYS_brk, start + 3 * MIB) == (long)(start + 3 * MIB));
    CHECK(is_filled(start, 3 * MIB, 0));
    memset(start, 6, 3 * MIB);
    CHECK(syscall(SYS_brk, start + MIB) == (long)(start + MIB));
    CHECK(syscall(SYS_brk, start + 2 * MIB) == (long)(start + 2 * MIB));
    CHECK(is_filled(start, MIB & ~(PAGE - 1), 6));
    size_t slack = PAGE; /* the page that the break was in keeps what it had */
    CHECK(is_filled(start + MIB + slack, MIB - slack, 0));
    CHECK(syscall(SYS_brk, start) == (long)start);
    CHECK(syscall(SYS_brk, 1) == (long)start);
    return 0;
}

static int allocates(void)
{
    enum { BLOCKS = 2000 };
    static unsigned char *blocks[BLOCKS];
    static size_t sizes[BLOCKS];
    uint32_t random = 12345;
    for (int round = 0; round < 20000; round++) {
        random = random * 1664525 + 1013904223;
        size_t i = (random >> 8) % BLOCKS;
        if (blocks[i]) {
            CHECK(is_filled(blocks[i], sizes[i] < 64 ? sizes[i] : 64, (unsigned char)i));
            CHECK(blocks[i][sizes[i] - 1] == (unsigned char)i);
            free(blocks[i]);
        }
        sizes[i] = 1 + (random >> 12) % (random % 64 == 0 ? 500000 : 2000);
        blocks[i] = malloc(sizes[i]);
        CHECK(blocks[i] != NULL);
        memset(blocks[i], (unsigned char)i, sizes[i]);
    }
    for (int i = 0; i < BLOCKS; i++)
        free(blocks[i]);
    return 0;
}

int memory_test(void)
{
    static const struct { const char *name; int (*run)(void); } parts[] = {
        {"maps and unmaps", maps_and_unmaps},
        {"protects", protects},
        {"reservations cost nothing", reservations_cost_nothing},
        {"remaps", remaps},
        {"large mappings", large_mappings},
        {"discards", discards},
        {"moves the break", moves_the_break},
        {"allocates", allocates},
    };
    int status = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        int failed = parts[i].run();
        printf("%s: %s\n", parts[i].name, failed ? "FAILED" : "ok");
        status |= failed;
    }
    return status;
}
