// SPDX-License-Identifier: MIT OR Apache-2.0

// Does what applications should not do, or rarely do. `fault` alone lists it all. Prints the same on
// Linux and on an isle, and ends in the same way.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

// Where kernels live: Linux's direct map and text, and the isle's.
#define KERNEL ((uintptr_t)0xffffffff81000000)

static void say(const char *what)
{
    printf("%s\n", what);
    fflush(stdout);
}

static int null(void)
{
    *(volatile int *)0 = 1;
    return 1;
}

static int jump_to_kernel(void)
{
    ((void (*)(void))KERNEL)();
    return 1;
}

static int read_kernel(void)
{
    return *(volatile int *)KERNEL;
}

static int noncanonical(void)
{
    return *(volatile int *)0x8000000000000000;
}

static int hlt(void)
{
    __asm__ volatile("hlt");
    return 1;
}

static int cli(void)
{
    __asm__ volatile("cli");
    return 1;
}

static int out(void)
{
    __asm__ volatile("outb %%al, $0x80" ::"a"(0));
    return 1;
}

static int illegal(void)
{
    __asm__ volatile("ud2");
    return 1;
}

static int divide(void)
{
    volatile int one = 1, zero = 0;
    return one / zero;
}

static int trap(void)
{
    __asm__ volatile("int3");
    return 1;
}

static int write_text(void)
{
    *(volatile char *)(uintptr_t)write_text = 0;
    return 1;
}

static int execute_data(void)
{
    static unsigned char code[] = {0xc3};
    ((void (*)(void))code)();
    return 1;
}

/* Never set, which the compiler can't know. */
static volatile int enough;

__attribute__((noinline)) static int recurse(volatile char *before)
{
    volatile char frame[4096];
    frame[0] = before[0];
    return enough ? 0 : recurse(frame) + frame[1];
}

static int stack(void)
{
    char start[1] = {0};
    return recurse(start);
}

static int loop(void)
{
    while (!enough)
        ;
    return 1;
}

static int loop_calls(void)
{
    while (!enough)
        syscall(SYS_getppid);
    return 1;
}

static int raise_signal(int number)
{
    raise(number);
    return 1;
}

/* System calls with bad pointers: EFAULT, not a fault. */
static int badptr(void)
{
    static const struct { const char *name; uintptr_t at; } bad[] = {
        {"null", 0},
        {"unmapped", 0x10000},
        {"kernel", KERNEL},
        {"noncanonical", 0x8000000000000000},
        {"end of user space", 0x7ffffffffff8},
        {"minus one", UINTPTR_MAX},
    };
    int zero = open("/dev/zero", O_RDONLY);
    CHECK(zero >= 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        void *at = (void *)bad[i].at;
        printf("%s\n", bad[i].name);
        CHECK_ERRNO(write(1, at, 100), EFAULT);
        CHECK_ERRNO(read(zero, at, 100), EFAULT);
        CHECK_ERRNO(open(at, O_RDONLY), EFAULT);
        CHECK_ERRNO(syscall(SYS_newfstatat, AT_FDCWD, "/", at, 0), EFAULT);
        CHECK_ERRNO(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, at), EFAULT);
        CHECK_ERRNO(syscall(SYS_getcwd, at, 100), EFAULT);
    }
    CHECK_ERRNO(write(-1, "x", 1), EBADF);
    CHECK_ERRNO(write(1000, "x", 1), EBADF);
    CHECK_ERRNO(close(1000), EBADF);
    /* A read-only buffer, and one that ends at an unmapped page. */
    CHECK_ERRNO(read(zero, (void *)(uintptr_t)badptr, 1), EFAULT);
    char *two = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(two != MAP_FAILED);
    CHECK(munmap(two + 4096, 4096) == 0);
    memcpy(two + 4096 - 4, "/tmp", 4);
    CHECK_ERRNO(open(two + 4096 - 4, O_RDONLY), EFAULT);
    CHECK_ERRNO(write(1, two + 4096, 1), EFAULT);
    close(zero);
    return 0;
}

static int enosys(void)
{
    CHECK_ERRNO(syscall(999), ENOSYS);
    CHECK_ERRNO(syscall(100000), ENOSYS);
    CHECK_ERRNO(syscall(-1), ENOSYS);
    return 0;
}

static uint64_t nanoseconds(clockid_t clock)
{
    struct timespec t;
    if (clock_gettime(clock, &t) != 0)
        return 0;
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int times(void)
{
    uint64_t start = nanoseconds(CLOCK_MONOTONIC), last = start;
    CHECK(start > 0);
    for (int i = 0; i < 100000; i++) {
        uint64_t now = nanoseconds(CLOCK_MONOTONIC);
        CHECK(now >= last);
        last = now;
    }
    CHECK(last > start);
    /* 2025-01-01 to 2100-01-01 */
    uint64_t real = nanoseconds(CLOCK_REALTIME) / 1000000000;
    CHECK(real > 1735689600 && real < 4102444800);
    time_t seconds = time(NULL);
    CHECK((uint64_t)seconds - real <= 1);
    struct timespec resolution;
    CHECK(clock_getres(CLOCK_MONOTONIC, &resolution) == 0);
    CHECK_ERRNO(syscall(SYS_clock_gettime, 12345, &resolution), EINVAL);
    return 0;
}

/* How many arguments, and how long they are: `fault args` with many of them. */
static int args(int argc, char **argv)
{
    size_t length = 0;
    uint32_t sum = 0;
    for (int i = 2; i < argc; i++) {
        length += strlen(argv[i]);
        for (const char *c = argv[i]; *c; c++)
            sum = sum * 31 + (unsigned char)*c;
    }
    printf("%d arguments, %zu bytes, sum %08x\n", argc - 2, length, sum);
    return argv[argc] != NULL;
}

int memory_test(void);
int vector_test(void);

static const struct { const char *name; int (*run)(void); const char *what; } tests[] = {
    {"null", null, "write to address 0: SIGSEGV"},
    {"kernel", jump_to_kernel, "jump to a kernel address: SIGSEGV"},
    {"kread", read_kernel, "read a kernel address: SIGSEGV"},
    {"noncanonical", noncanonical, "read a non-canonical address: SIGSEGV"},
    {"hlt", hlt, "SIGSEGV"},
    {"cli", cli, "SIGSEGV"},
    {"out", out, "SIGSEGV"},
    {"ill", illegal, "undefined instruction: SIGILL"},
    {"fpe", divide, "division by zero: SIGFPE"},
    {"trap", trap, "breakpoint: SIGTRAP"},
    {"text", write_text, "write to code: SIGSEGV"},
    {"data", execute_data, "execute data: SIGSEGV"},
    {"stack", stack, "recurse for ever: SIGSEGV"},
    {"loop", loop, "compute for ever"},
    {"calls", loop_calls, "make system calls for ever"},
    {"badptr", badptr, "bad pointers to system calls give EFAULT"},
    {"enosys", enosys, "unknown system calls give ENOSYS"},
    {"mem", memory_test, "mmap, munmap, mprotect, mremap, brk"},
    {"sse", vector_test, "vector registers survive system calls"},
    {"time", times, "clocks go on"},
};

int main(int argc, char **argv)
{
    const char *test = argc > 1 ? argv[1] : "";
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        if (strcmp(test, tests[i].name) == 0) {
            say(tests[i].name);
            int status = tests[i].run();
            say(status == 0 ? "ok" : "FAILED");
            return status;
        }
    }
    if (strcmp(test, "args") == 0)
        return args(argc, argv);
    if (strcmp(test, "abort") == 0) {
        say(test);
        abort();
    }
    if (strcmp(test, "raise") == 0 && argc > 2) {
        say(test);
        return raise_signal(atoi(argv[2]));
    }
    if (strcmp(test, "exit") == 0 && argc > 2) {
        say(test);
        return atoi(argv[2]);
    }
    if (strcmp(test, "_exit") == 0 && argc > 2) {
        say(test);
        _exit(atoi(argv[2]));
    }
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        fprintf(stderr, "fault %-13s %s\n", tests[i].name, tests[i].what);
    fputs("fault args ARG...   count them\nfault abort         SIGABRT\nfault raise N       signal N\n"
          "fault exit N        exit status N (also _exit)\n", stderr);
    return 2;
}
