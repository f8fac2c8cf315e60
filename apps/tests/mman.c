// SPDX-License-Identifier: MIT OR Apache-2.0

// Memory as Linux has it: fixed addresses, splitting, protection and what breaks it, moving, giving back, what is
// resident, reservations, the break, files, errors, and that all threads see changes at once.

#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "check.h"

#define PAGE ((size_t)4096)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)
#define RW (PROT_READ | PROT_WRITE)
#define ANONYMOUS (MAP_PRIVATE | MAP_ANONYMOUS)

static unsigned char *map(size_t len, int prot)
{
    return mmap(NULL, len, prot, ANONYMOUS, -1, 0);
}

static unsigned char *map_at(void *at, size_t len, int prot, int flags)
{
    return mmap(at, len, prot, ANONYMOUS | flags, -1, 0);
}

static int is_filled(const unsigned char *at, size_t len, unsigned char value)
{
    for (size_t i = 0; i < len; i++)
        if (at[i] != value)
            return 0;
    return 1;
}

/* What an access gives: 0, or the code of its SIGSEGV, whose address must be right. */

static __thread sigjmp_buf back;
static __thread void *volatile fault_at;
static __thread volatile int code;

static void note(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    fault_at = info->si_addr;
    code = info->si_code;
    siglongjmp(back, 1);
}

enum { READ, WRITE, EXECUTE };

static int fault_of(unsigned char *at, int access)
{
    if (sigsetjmp(back, 1) != 0)
        return fault_at == at ? code : -1;
    if (access == READ)
        (void)*(volatile unsigned char *)at;
    if (access == WRITE)
        *(volatile unsigned char *)at = 0xc3; /* "ret" */
    if (access == EXECUTE)
        ((void (*)(void))at)();
    return 0;
}

/* CHECK_FAULTS(at, of reading, of writing) */
#define CHECK_FAULTS(at, of_read, of_write)       \
    do {                                          \
        CHECK_IS(fault_of(at, READ), of_read);    \
        CHECK_IS(fault_of(at, WRITE), of_write);  \
    } while (0)

static int fixed_addresses(void)
{
    unsigned char *a = map(16 * PAGE, PROT_NONE);
    CHECK(a != MAP_FAILED);
    /* MAP_FIXED replaces; a hint is taken if there is room. */
    CHECK(map_at(a + PAGE, 2 * PAGE, RW, MAP_FIXED) == a + PAGE);
    memset(a + PAGE, 1, 2 * PAGE);
    CHECK(map_at(a + 2 * PAGE, 2 * PAGE, RW, MAP_FIXED) == a + 2 * PAGE);
    CHECK(is_filled(a + PAGE, PAGE, 1) && is_filled(a + 2 * PAGE, 2 * PAGE, 0));
    CHECK(munmap(a, 16 * PAGE) == 0);
    CHECK(map_at(a + 4 * PAGE, 2 * PAGE, RW, 0) == a + 4 * PAGE);
    unsigned char *other = map_at(a + 4 * PAGE, 2 * PAGE, RW, 0);
    CHECK(other != MAP_FAILED && other != a + 4 * PAGE);
    CHECK(munmap(other, 2 * PAGE) == 0);
    other = map_at(a + 8 * PAGE + 123, PAGE, RW, 0);
    CHECK(other != MAP_FAILED && (uintptr_t)other % PAGE == 0);
    CHECK(munmap(other, PAGE) == 0);
    /* MAP_FIXED_NOREPLACE doesn't replace, not even in part. */
    CHECK_ERRNO(map_at(a + 4 * PAGE, 2 * PAGE, RW, MAP_FIXED_NOREPLACE), EEXIST);
    CHECK_ERRNO(map_at(a + 3 * PAGE, 2 * PAGE, RW, MAP_FIXED_NOREPLACE), EEXIST);
    CHECK_ERRNO(map_at(a + 5 * PAGE, 2 * PAGE, RW, MAP_FIXED_NOREPLACE), EEXIST);
    CHECK_ERRNO(map_at(a, 16 * PAGE, RW, MAP_FIXED_NOREPLACE), EEXIST);
    CHECK(map_at(a + 2 * PAGE, 2 * PAGE, RW, MAP_FIXED_NOREPLACE) == a + 2 * PAGE);
    CHECK(munmap(a, 16 * PAGE) == 0);
    CHECK_ERRNO(map_at(a + 1, PAGE, RW, MAP_FIXED), EINVAL);
    CHECK_ERRNO(map_at((void *)(1UL << 56), PAGE, RW, MAP_FIXED), ENOMEM);
    CHECK_ERRNO(map_at((void *)0xffffffff81000000, PAGE, RW, MAP_FIXED), ENOMEM);
    return 0;
}

static int refuses_mappings(void)
{
    CHECK_ERRNO(map(0, RW), EINVAL);
    CHECK_ERRNO(map(SIZE_MAX, RW), ENOMEM);
    CHECK_ERRNO(map(SIZE_MAX - 2 * PAGE, PROT_NONE), ENOMEM);
    CHECK_ERRNO(map((size_t)1 << 47, PROT_NONE), ENOMEM);
    CHECK_ERRNO(mmap(NULL, PAGE, RW, MAP_ANONYMOUS, -1, 0), EINVAL);
    CHECK_ERRNO(mmap(NULL, PAGE, RW, MAP_PRIVATE, -1, 0), EBADF);
    CHECK_ERRNO(mmap(NULL, PAGE, RW, MAP_PRIVATE, 1000, 0), EBADF);
    CHECK_ERRNO(mmap(NULL, PAGE, RW, ANONYMOUS, -1, 1), EINVAL);
    CHECK_ERRNO(munmap((void *)1, PAGE), EINVAL);
    CHECK_ERRNO(munmap(NULL, 0), EINVAL);
    CHECK_ERRNO(munmap((void *)PAGE, SIZE_MAX - 2 * PAGE), EINVAL);
    CHECK_ERRNO(munmap((void *)0xffffffff81000000, PAGE), EINVAL);
    CHECK_ERRNO(munmap((void *)(1UL << 56), PAGE), EINVAL);
    /* Where there is nothing, nothing goes. */
    CHECK(munmap((void *)0x10000, PAGE) == 0);
    return 0;
}

static int splits(void)
{
    unsigned char *a = map(9 * PAGE, RW);
    CHECK(a != MAP_FAILED);
    memset(a, 2, 9 * PAGE);
    /* A hole in the middle, the first and the last page, and a length that is no multiple of a page. */
    CHECK(munmap(a + 4 * PAGE, 1) == 0);
    CHECK(munmap(a, PAGE) == 0);
    CHECK(munmap(a + 8 * PAGE, PAGE) == 0);
    for (size_t i = 0; i < 9; i++) {
        int gone = i == 0 || i == 4 || i == 8;
        CHECK_IS(fault_of(a + i * PAGE, READ), gone ? SEGV_MAPERR : 0);
        CHECK(gone || is_filled(a + i * PAGE, PAGE, 2));
    }
    /* Many pieces, joined again. */
    unsigned char *b = map(200 * PAGE, RW);
    CHECK(b != MAP_FAILED);
    for (size_t i = 0; i < 200; i += 2)
        CHECK(mprotect(b + i * PAGE, PAGE, PROT_READ) == 0);
    for (size_t i = 0; i < 200; i++)
        CHECK_IS(fault_of(b + i * PAGE, WRITE), i % 2 ? 0 : SEGV_ACCERR);
    CHECK(mprotect(b, 200 * PAGE, RW) == 0);
    memset(b, 3, 200 * PAGE);
    CHECK(munmap(b, 200 * PAGE) == 0 && munmap(a, 9 * PAGE) == 0);
    return 0;
}

static int protects(void)
{
    unsigned char *a = map(4 * PAGE, RW);
    CHECK(a != MAP_FAILED);
    memset(a, 0xc3, 4 * PAGE);
    CHECK_FAULTS(a, 0, 0);
    CHECK_IS(fault_of(a, EXECUTE), SEGV_ACCERR);
    CHECK(mprotect(a, PAGE, PROT_READ) == 0);
    CHECK_FAULTS(a, 0, SEGV_ACCERR);
    CHECK(mprotect(a, PAGE, PROT_READ | PROT_EXEC) == 0);
    CHECK_FAULTS(a, 0, SEGV_ACCERR);
    CHECK_IS(fault_of(a, EXECUTE), 0);
    CHECK(mprotect(a, PAGE, RW | PROT_EXEC) == 0);
    CHECK_FAULTS(a, 0, 0);
    CHECK_IS(fault_of(a, EXECUTE), 0);
    CHECK(mprotect(a, PAGE, PROT_NONE) == 0);
    CHECK_FAULTS(a, SEGV_ACCERR, SEGV_ACCERR);
    CHECK_IS(fault_of(a, EXECUTE), SEGV_ACCERR);
    CHECK_FAULTS(a + PAGE, 0, 0);
    CHECK(mprotect(a, PAGE, RW) == 0 && is_filled(a, 4 * PAGE, 0xc3));
    /* Pages that were never touched, too. */
    unsigned char *b = map(2 * PAGE, PROT_NONE);
    CHECK(b != MAP_FAILED && mprotect(b, PAGE, RW) == 0);
    CHECK_FAULTS(b, 0, 0);
    CHECK_FAULTS(b + PAGE, SEGV_ACCERR, SEGV_ACCERR);
    CHECK(munmap(b, 2 * PAGE) == 0);
    CHECK_FAULTS(b, SEGV_MAPERR, SEGV_MAPERR);
    /* With a hole it fails, but what is before the hole has changed. */
    CHECK(munmap(a + 2 * PAGE, PAGE) == 0);
    CHECK_ERRNO(mprotect(a, 4 * PAGE, PROT_READ), ENOMEM);
    CHECK_FAULTS(a + PAGE, 0, SEGV_ACCERR);
    CHECK_FAULTS(a + 3 * PAGE, 0, 0);
    CHECK_ERRNO(syscall(SYS_mprotect, a + 1, PAGE, PROT_READ), EINVAL); /* musl's function aligns */
    CHECK_ERRNO(mprotect(a, PAGE, 0x100), EINVAL);
    CHECK_ERRNO(mprotect(a + PAGE, SIZE_MAX - PAGE + 1, PROT_READ), ENOMEM);
    CHECK(mprotect(a, 0, PROT_NONE) == 0 && fault_of(a, READ) == 0);
    CHECK(munmap(a, 4 * PAGE) == 0);
    CHECK_ERRNO(mprotect(a, PAGE, PROT_READ), ENOMEM);
    return 0;
}

static int has_guards(void)
{
    unsigned char *a = map(18 * PAGE, RW);
    CHECK(a != MAP_FAILED);
    CHECK(mprotect(a, PAGE, PROT_NONE) == 0 && mprotect(a + 17 * PAGE, PAGE, PROT_NONE) == 0);
    memset(a + PAGE, 1, 16 * PAGE);
    CHECK_FAULTS(a + PAGE - 1, SEGV_ACCERR, SEGV_ACCERR);
    CHECK_FAULTS(a + PAGE, 0, 0);
    CHECK_FAULTS(a + 17 * PAGE - 1, 0, 0);
    CHECK_FAULTS(a + 17 * PAGE, SEGV_ACCERR, SEGV_ACCERR);
    CHECK(munmap(a, 18 * PAGE) == 0);
    return 0;
}

static int moves(void)
{
    /* In place where there is room, elsewhere if that's allowed. */
    unsigned char *a = map(8 * PAGE, RW), *b;
    CHECK(a != MAP_FAILED);
    memset(a, 4, 8 * PAGE);
    CHECK(mremap(a, 8 * PAGE, 2 * PAGE, 0) == a && fault_of(a + 2 * PAGE, READ) == SEGV_MAPERR);
    CHECK(mremap(a, 2 * PAGE, 4 * PAGE, 0) == a);
    CHECK(is_filled(a, 2 * PAGE, 4) && is_filled(a + 2 * PAGE, 2 * PAGE, 0));
    CHECK(map_at(a + 4 * PAGE, PAGE, PROT_READ, MAP_FIXED) == a + 4 * PAGE);
    CHECK_ERRNO(mremap(a, 4 * PAGE, 6 * PAGE, 0), ENOMEM);
    b = mremap(a, 4 * PAGE, 6 * PAGE, MREMAP_MAYMOVE);
    CHECK(b != MAP_FAILED && b != a && fault_of(a, READ) == SEGV_MAPERR);
    CHECK(is_filled(b, 2 * PAGE, 4) && is_filled(b + 2 * PAGE, 4 * PAGE, 0));
    CHECK(mremap(b, 6 * PAGE, 6 * PAGE, 0) == b);
    /* To an address: what was there goes. */
    unsigned char *c = map(10 * PAGE, RW);
    CHECK(c != MAP_FAILED);
    memset(c, 5, 10 * PAGE);
    CHECK(mremap(b, 6 * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, c + 2 * PAGE) == c + 2 * PAGE);
    CHECK(is_filled(c, 2 * PAGE, 5) && is_filled(c + 2 * PAGE, 2 * PAGE, 4) && is_filled(c + 4 * PAGE, PAGE, 0) &&
          is_filled(c + 5 * PAGE, 5 * PAGE, 5));
    CHECK(fault_of(b, READ) == SEGV_MAPERR && fault_of(b + 5 * PAGE, READ) == SEGV_MAPERR);
    CHECK_ERRNO(mremap(c + 1, PAGE, 2 * PAGE, MREMAP_MAYMOVE), EINVAL);
    CHECK_ERRNO(mremap(c, PAGE, 0, MREMAP_MAYMOVE), EINVAL);
    CHECK_ERRNO(mremap(c, 2 * PAGE, PAGE, 0x100), EINVAL);
    CHECK_ERRNO(mremap(c, PAGE, PAGE, MREMAP_FIXED, c + 4 * PAGE), EINVAL);
    CHECK_ERRNO(mremap(c, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, c + PAGE), EINVAL);
    CHECK_ERRNO(mremap(c, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, c + 4 * PAGE + 1), EINVAL);
    CHECK(mremap(c, PAGE, (size_t)1 << 47, MREMAP_MAYMOVE) == MAP_FAILED); /* with errors that depend on the version */
    CHECK(munmap(c, 10 * PAGE) == 0 && munmap(a, 5 * PAGE) == 0);
    CHECK_ERRNO(mremap(c, PAGE, 2 * PAGE, MREMAP_MAYMOVE), EFAULT);
    /* The protection moves, too. */
    a = map(PAGE, PROT_READ);
    CHECK(a != MAP_FAILED);
    b = mremap(a, PAGE, 300 * PAGE, MREMAP_MAYMOVE);
    CHECK(b != MAP_FAILED);
    CHECK_FAULTS(b, 0, SEGV_ACCERR);
    CHECK_FAULTS(b + 299 * PAGE, 0, SEGV_ACCERR);
    CHECK(munmap(b, 300 * PAGE) == 0);
    /* A large one, whose pages must not be copied wrongly. */
    a = map(6 * MIB, RW);
    CHECK(a != MAP_FAILED);
    for (size_t i = 0; i < 6 * MIB; i += PAGE)
        *(size_t *)(a + i) = i;
    b = mremap(a, 6 * MIB, 40 * MIB, MREMAP_MAYMOVE);
    CHECK(b != MAP_FAILED);
    for (size_t i = 0; i < 6 * MIB; i += PAGE)
        CHECK(*(size_t *)(b + i) == i);
    CHECK(*(size_t *)(b + 6 * MIB) == 0 && *(size_t *)(b + 39 * MIB) == 0);
    CHECK(munmap(b, 40 * MIB) == 0);
    return 0;
}

static int gives_back(void)
{
    unsigned char *a = map(8 * PAGE, RW);
    CHECK(a != MAP_FAILED);
    for (int round = 0; round < 3; round++) {
        memset(a, 6, 8 * PAGE);
        CHECK(madvise(a + PAGE, 2 * PAGE, MADV_DONTNEED) == 0);
        CHECK(is_filled(a, PAGE, 6) && is_filled(a + PAGE, 2 * PAGE, 0) && is_filled(a + 3 * PAGE, 5 * PAGE, 6));
    }
    CHECK(mprotect(a, PAGE, PROT_READ) == 0 && madvise(a, PAGE, MADV_DONTNEED) == 0);
    CHECK(is_filled(a, PAGE, 0));
    CHECK(mprotect(a, PAGE, RW) == 0);
    memset(a, 7, 8 * PAGE);
    /* With MADV_FREE a page is as it was, or zero. */
    CHECK(madvise(a, 8 * PAGE, MADV_FREE) == 0);
    for (size_t i = 0; i < 8; i++)
        CHECK(is_filled(a + i * PAGE, PAGE, 7) || is_filled(a + i * PAGE, PAGE, 0));
    memset(a, 8, 8 * PAGE);
    CHECK(is_filled(a, 8 * PAGE, 8));
    /* Not MADV_WILLNEED: for such memory it is EBADF where Linux has no swap. */
    static const int harmless[] = {MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL};
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        CHECK(madvise(a, 8 * PAGE, harmless[i]) == 0);
    CHECK(is_filled(a, 8 * PAGE, 8));
    CHECK(madvise(a, 0, MADV_DONTNEED) == 0 && a[0] == 8);
    CHECK_ERRNO(madvise(a + 1, PAGE, MADV_DONTNEED), EINVAL);
    CHECK_ERRNO(madvise(a, PAGE, 12345), EINVAL);
    CHECK_ERRNO(madvise(a, SIZE_MAX - PAGE + 1, MADV_DONTNEED), EINVAL);
    /* With a hole it fails, but has been done to what is mapped. */
    CHECK(munmap(a + 3 * PAGE, PAGE) == 0);
    CHECK_ERRNO(madvise(a, 8 * PAGE, MADV_DONTNEED), ENOMEM);
    CHECK(is_filled(a, 3 * PAGE, 0) && is_filled(a + 4 * PAGE, 4 * PAGE, 0));
    CHECK(munmap(a, 8 * PAGE) == 0);
    return 0;
}

/* How many of these pages mincore(2) calls resident. */
static int resident(unsigned char *at, size_t pages)
{
    unsigned char vector[256];
    MUST(pages <= sizeof vector && mincore(at, pages * PAGE, vector) == 0);
    int count = 0;
    for (size_t i = 0; i < pages; i++)
        count += vector[i] & 1;
    return count;
}

static int tells_what_is_resident(void)
{
    unsigned char *a = map(20 * PAGE, PROT_NONE), vector[20];
    CHECK(a != MAP_FAILED);
    /* With guards around, so that no neighbour's large page covers it. */
    unsigned char *b = a + 2 * PAGE;
    CHECK(mprotect(b, 16 * PAGE, RW) == 0);
    CHECK_IS(resident(b, 16), 0);
    b[0] = b[5 * PAGE] = b[15 * PAGE] = 1;
    CHECK_IS(resident(b, 16), 3);
    CHECK(mincore(b, 16 * PAGE, vector) == 0 && (vector[0] & vector[5] & vector[15] & 1));
    CHECK(madvise(b, 6 * PAGE, MADV_DONTNEED) == 0);
    CHECK_IS(resident(b, 16), 1);
    CHECK_ERRNO(mincore(b + 1, PAGE, vector), EINVAL);
    CHECK_ERRNO(mincore(b, PAGE, (void *)0x10000), EFAULT);
    CHECK(munmap(b + PAGE, PAGE) == 0);
    CHECK_ERRNO(mincore(b, 3 * PAGE, vector), ENOMEM);
    CHECK(munmap(a, 20 * PAGE) == 0);
    CHECK_ERRNO(mincore(a, PAGE, vector), ENOMEM);
    /* All there from the beginning. */
    a = map_at(NULL, 256 * PAGE, RW, MAP_POPULATE);
    CHECK(a != MAP_FAILED);
    CHECK_IS(resident(a, 256), 256);
    CHECK(is_filled(a, 256 * PAGE, 0));
    memset(a, 1, 256 * PAGE);
    CHECK(munmap(a, 256 * PAGE) == 0);
    a = map_at(NULL, 4 * PAGE, PROT_NONE, MAP_POPULATE);
    CHECK(a != MAP_FAILED && fault_of(a, READ) == SEGV_ACCERR && munmap(a, 4 * PAGE) == 0);
    return 0;
}

static int reserves(void)
{
    size_t len = 256 * GIB;
    for (int round = 0; round < 3; round++) {
        unsigned char *a = map_at(NULL, len, PROT_NONE, MAP_NORESERVE);
        CHECK(a != MAP_FAILED);
        CHECK_FAULTS(a + len / 3, SEGV_ACCERR, SEGV_ACCERR);
        /* Made usable here and there, in both ways that run times do it. */
        for (size_t i = 0; i < 64; i++) {
            unsigned char *b = a + i * 4 * GIB + i * PAGE;
            if (i % 2)
                CHECK(mprotect(b, 2 * PAGE, RW) == 0);
            else
                CHECK(map_at(b, 2 * PAGE, RW, MAP_FIXED) == b);
            CHECK(is_filled(b, 2 * PAGE, 0));
            memset(b, (int)i, 2 * PAGE);
        }
        for (size_t i = 0; i < 64; i++) {
            unsigned char *b = a + i * 4 * GIB + i * PAGE;
            CHECK(is_filled(b, 2 * PAGE, (unsigned char)i));
            CHECK(fault_of(b + 2 * PAGE, READ) == SEGV_ACCERR);
            CHECK(madvise(b, 2 * PAGE, MADV_DONTNEED) == 0 && b[0] == 0);
        }
        /* The parts that don't fit an alignment of 64 GiB go, as of arenas. */
        unsigned char *aligned = (unsigned char *)(((uintptr_t)a + 64 * GIB - 1) & ~(64 * GIB - 1));
        if (aligned > a)
            CHECK(munmap(a, (size_t)(aligned - a)) == 0);
        CHECK(munmap(aligned, (size_t)(a + len - aligned)) == 0);
        CHECK(fault_of(a + len - PAGE, READ) == SEGV_MAPERR);
    }
    return 0;
}

static unsigned char *brk_(void *at)
{
    return (unsigned char *)syscall(SYS_brk, at);
}

static int moves_the_break(void)
{
    unsigned char *start = brk_(NULL);
    CHECK(brk_(start) == start && brk_((void *)1) == start && brk_((void *)(1UL << 56)) == start);
    /* To the byte, though memory comes by pages. */
    CHECK(brk_(start + 100) == start + 100 && brk_(NULL) == start + 100);
    CHECK(brk_(start + 10 * PAGE) == start + 10 * PAGE);
    CHECK(is_filled(start, 10 * PAGE, 0));
    memset(start, 9, 10 * PAGE);
    CHECK(brk_(start + 5 * PAGE) == start + 5 * PAGE);
    CHECK(is_filled(start, 5 * PAGE, 9));
    unsigned char *edge = (unsigned char *)(((uintptr_t)start + 5 * PAGE + PAGE - 1) & ~(PAGE - 1));
    CHECK(fault_of(edge, READ) == SEGV_MAPERR);
    CHECK(brk_(start + 10 * PAGE) == start + 10 * PAGE);
    CHECK(is_filled(edge, (size_t)(start + 10 * PAGE - edge), 0));
    /* It can't grow into a mapping. */
    unsigned char *wall = (unsigned char *)(((uintptr_t)start + 20 * PAGE) & ~(PAGE - 1));
    CHECK(map_at(wall, PAGE, RW, MAP_FIXED_NOREPLACE) == wall);
    CHECK(brk_(start + 30 * PAGE) == start + 10 * PAGE);
    CHECK(munmap(wall, PAGE) == 0);
    CHECK(brk_(start + 64 * MIB) == start + 64 * MIB);
    for (size_t i = 10 * PAGE; i < 64 * MIB; i += MIB)
        start[i] = 1;
    CHECK(brk_(start) == start);
    return 0;
}

static int maps_files(void)
{
    char name[4096];
    const char *dir = getenv("TMPDIR");
    snprintf(name, sizeof name, "%s/mman.%ld", dir ? dir : "/tmp", (long)getpid());
    int fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    CHECK(fd >= 0);
    unsigned char text[PAGE];
    for (unsigned char i = 1; i <= 3; i++) {
        memset(text, i, sizeof text);
        CHECK(write(fd, text, i < 3 ? PAGE : 100) == (i < 3 ? (ssize_t)PAGE : 100));
    }
    unsigned char *a = mmap(NULL, 3 * PAGE, RW, MAP_PRIVATE, fd, 0);
    CHECK(a != MAP_FAILED);
    CHECK(is_filled(a, PAGE, 1) && is_filled(a + PAGE, PAGE, 2) && is_filled(a + 2 * PAGE, 100, 3));
    CHECK(is_filled(a + 2 * PAGE + 100, PAGE - 100, 0));
    /* What is written there doesn't reach the file. */
    memset(a, 77, 3 * PAGE);
    unsigned char *b = mmap(NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE, fd, (off_t)PAGE);
    CHECK(b != MAP_FAILED && is_filled(b, PAGE, 2));
    CHECK(is_filled(b + PAGE, 100, 3) && is_filled(b + PAGE + 100, PAGE - 100, 0));
    CHECK_FAULTS(b, 0, SEGV_ACCERR);
    CHECK_ERRNO(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 100), EINVAL);
    CHECK_ERRNO(mmap(NULL, 0, PROT_READ, MAP_PRIVATE, fd, 0), EINVAL);
    CHECK(close(fd) == 0 && is_filled(a, 3 * PAGE, 77) && is_filled(b, PAGE, 2));
    fd = open(name, O_WRONLY);
    CHECK(fd >= 0);
    CHECK_ERRNO(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0), EACCES);
    CHECK(close(fd) == 0 && unlink(name) == 0);
    CHECK(munmap(a, 3 * PAGE) == 0 && munmap(b, 2 * PAGE) == 0);
    return 0;
}

static int does_the_rest(void)
{
    unsigned char *a = mmap(NULL, 4 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(a != MAP_FAILED && is_filled(a, 4 * PAGE, 0));
    memset(a, 1, 4 * PAGE);
    CHECK(is_filled(a, 4 * PAGE, 1) && munmap(a, 4 * PAGE) == 0);
    a = map(4 * PAGE, RW);
    CHECK(a != MAP_FAILED);
    CHECK(mlock(a, 2 * PAGE) == 0 && munlock(a, 2 * PAGE) == 0);
    CHECK(msync(a, 4 * PAGE, MS_SYNC) == 0 && msync(a, 4 * PAGE, MS_ASYNC) == 0);
    CHECK_ERRNO(msync(a, PAGE, MS_SYNC | MS_ASYNC), EINVAL);
    CHECK_ERRNO(msync(a + 1, PAGE, MS_SYNC), EINVAL);
    CHECK_ERRNO(msync(a, PAGE, 0x100), EINVAL);
    CHECK(munmap(a, 4 * PAGE) == 0);
    CHECK_ERRNO(msync(a, PAGE, MS_SYNC), ENOMEM);
    CHECK_ERRNO(mlock(a, PAGE), ENOMEM);
    return 0;
}

/* Other threads see what one has changed as soon as the call has returned. */

static unsigned char *shared;
static atomic_int stop, faults, ready;

static void *writes_until_stopped(void *arg)
{
    (void)arg;
    volatile uint64_t *at = (volatile uint64_t *)shared;
    ready++;
    while (!stop) {
        if (sigsetjmp(back, 0) != 0) {
            faults++;
            sigset_t none;
            sigemptyset(&none);
            pthread_sigmask(SIG_SETMASK, &none, NULL);
            sched_yield();
            continue;
        }
        for (uint64_t i = 0; !atomic_load_explicit(&stop, memory_order_relaxed); i++)
            *at = i;
    }
    return NULL;
}

static int all_threads_see_changes(void)
{
    enum { THREADS = 3 };
    pthread_t threads[THREADS];
    shared = map(PAGE, RW);
    CHECK(shared != MAP_FAILED);
    volatile uint64_t *at = (volatile uint64_t *)shared;
    for (int i = 0; i < THREADS; i++)
        threads[i] = start(writes_until_stopped, NULL);
    while (ready < THREADS)
        sched_yield();
    for (int round = 0; round < 60; round++) {
        switch (round % 3) {
        case 0: /* nobody writes any more */
            CHECK(mprotect(shared, PAGE, PROT_READ) == 0);
            break;
        case 1: /* or to that page */
            CHECK(map_at(shared, PAGE, PROT_READ, MAP_FIXED) == shared);
            break;
        case 2:
            CHECK(munmap(shared, PAGE) == 0);
            CHECK(map_at(shared, PAGE, PROT_READ, MAP_FIXED_NOREPLACE) == shared);
            break;
        }
        uint64_t before = *at;
        int faults_before = faults;
        if (round % 3 != 0)
            CHECK_IS(before, 0);
        for (int i = 0; i < 20000; i++)
            CHECK(*at == before);
        if (round % 6 == 0)
            while (faults == faults_before)
                sched_yield();
        CHECK(*at == before);
        CHECK(mprotect(shared, PAGE, RW) == 0);
        if (round % 6 == 0)
            while (*at == before)
                sched_yield();
    }
    stop = 1;
    for (int i = 0; i < THREADS; i++)
        join(threads[i]);
    CHECK(faults > 0);
    return munmap(shared, PAGE);
}

static void *maps_much(void *arg)
{
    unsigned char mark = (unsigned char)(intptr_t)arg;
    for (size_t i = 0; i < 300; i++) {
        size_t len = (2 + i * 7 % 20) * PAGE;
        unsigned char *a = map(len, RW), *b;
        MUST(a != MAP_FAILED && is_filled(a, len, 0));
        memset(a, mark, len);
        MUST(mprotect(a, PAGE, PROT_READ) == 0);
        b = mremap(a + PAGE, len - PAGE, len + PAGE, MREMAP_MAYMOVE);
        MUST(b != MAP_FAILED && is_filled(b, len - PAGE, mark) && is_filled(b + len - PAGE, 2 * PAGE, 0));
        MUST(is_filled(a, PAGE, mark));
        MUST(munmap(b, len + PAGE) == 0 && munmap(a, PAGE) == 0);
    }
    return NULL;
}

static int all_map_at_once(void)
{
    pthread_t threads[4];
    for (intptr_t i = 0; i < 4; i++)
        threads[i] = start(maps_much, (void *)(i + 1));
    for (int i = 0; i < 4; i++)
        join(threads[i]);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct part parts[] = {
        {"fixed addresses", fixed_addresses},
        {"refuses mappings", refuses_mappings},
        {"splits", splits},
        {"protects", protects},
        {"has guards", has_guards},
        {"moves", moves},
        {"gives back", gives_back},
        {"tells what is resident", tells_what_is_resident},
        {"reserves", reserves},
        {"moves the break", moves_the_break},
        {"maps files", maps_files},
        {"does the rest", does_the_rest},
        {"all threads see changes", all_threads_see_changes},
        {"all map at once", all_map_at_once},
    };
    struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO};
    MUST(sigaction(SIGSEGV, &action, NULL) == 0);
    return RUN_PARTS(parts, argc, argv);
}
