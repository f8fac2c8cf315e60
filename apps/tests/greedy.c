// SPDX-License-Identifier: MIT OR Apache-2.0

// A program that wants more than there is: signals that nobody takes, tens of thousands of mappings, timers that expire
// all the time. It may be refused, but the system it runs on stays well, and the program gets on.

#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "check.h"

enum { THREADS = 420, QUEUED = 1000 };

static pid_t tids[THREADS];
static int begun;

static void *sleeps(void *arg)
{
    (void)arg;
    tids[__atomic_fetch_add(&begun, 1, __ATOMIC_SEQ_CST)] = (pid_t)syscall(SYS_gettid);
    for (;;)
        pause();
    return NULL;
}

/* Blocked real-time signals for many threads. They are queued or refused; no other errors. */
static int signals(void)
{
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    CHECK(pthread_sigmask(SIG_BLOCK, &all, NULL) == 0);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 64 << 10);
    int made = 0;
    for (pthread_t thread; made < THREADS; made++) {
        int error = pthread_create(&thread, &attr, sleeps, NULL);
        if (error != 0) {
            CHECK_IS(error, EAGAIN);
            break;
        }
    }
    CHECK(made > 0);
    while (__atomic_load_n(&begun, __ATOMIC_SEQ_CST) < made)
        sleep_ms(1);
    for (int i = 0; i < made; i++) {
        for (int count = 0; count < QUEUED; count++) {
            if (syscall(SYS_tgkill, getpid(), tids[i], SIGRTMIN + 6) != 0) {
                CHECK_IS(errno, EAGAIN);
                i = made;
                break;
            }
        }
    }
    /* An ordinary one always has room. */
    CHECK(raise(SIGUSR1) == 0);
    int signal = 0;
    sigset_t one = none;
    sigaddset(&one, SIGUSR1);
    CHECK(sigwait(&one, &signal) == 0 && signal == SIGUSR1);
    return 0;
}

enum { AREAS = 40000, TOUCHED = 9000 };
static const size_t page = 4096;

/* Each touched page has a page table of its own, as far as there is memory for them. */
static int areas(void)
{
    const size_t step = 2 << 20;
    char *base = (char *)0x100000000000;
    for (long i = 0; i < AREAS; i++) {
        void *at = mmap(base + i * step, page, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
        if (at == MAP_FAILED) {
            CHECK_IS(errno, ENOMEM);
            break;
        }
    }
    for (long i = 0; i < TOUCHED; i++) {
        if (syscall(SYS_getrandom, base + i * step, 1, 0) != 1)
            break;
    }
    base[0] = 1;
    /* Between them is nothing; what is there goes all the same. */
    CHECK_ERRNO(madvise(base, AREAS * step, MADV_DONTNEED), ENOMEM);
    CHECK(base[0] == 0);
    CHECK(munmap(base, AREAS * step) == 0);
    return 0;
}

/* As many areas as there may be become one. */
static int permissions(void)
{
    const size_t count = 65000;
    char *base = mmap(NULL, count * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(base != MAP_FAILED);
    for (size_t i = 0; i < count; i += 2)
        CHECK(mprotect(base + i * page, page, PROT_READ) == 0);
    CHECK(mprotect(base, count * page, PROT_READ | PROT_WRITE) == 0);
    for (size_t i = 0; i < count; i += count / 7)
        base[i * page] = 1;
    CHECK(mprotect(base + page, (count - 2) * page, PROT_NONE) == 0);
    CHECK(base[0] == 1);
    CHECK(munmap(base, count * page) == 0);
    return 0;
}

/* Many small pages go to another address. */
static int moving(void)
{
    const size_t len = 16 << 20, off = page;
    char *base = mmap(NULL, len + 2 * off, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(base != MAP_FAILED);
    for (size_t at = 0; at < len; at += page)
        *(size_t *)(base + off + at) = at;
    char *moved = mremap(base + off, len, len + (64 << 20), MREMAP_MAYMOVE);
    CHECK(moved != MAP_FAILED);
    for (size_t at = 0; at < len; at += page)
        CHECK(*(size_t *)(moved + at) == at);
    CHECK(*(size_t *)(moved + len) == 0);
    CHECK(munmap(moved, len + (64 << 20)) == 0 && munmap(base, off) == 0);
    return 0;
}

static int done;

static inline void set_base(uint64_t base)
{
    __asm__ volatile("wrgsbase %0" ::"r"(base));
}

static inline uint64_t get_base(void)
{
    uint64_t base;
    __asm__ volatile("rdgsbase %0" : "=r"(base));
    return base;
}

static void *has_base(void *arg)
{
    (void)arg;
    set_base(0x12345000);
    while (!__atomic_load_n(&done, __ATOMIC_SEQ_CST))
        sched_yield();
    return NULL;
}

/* A GS base that is no address of a program is kept or lost, but never another thread's. */
static int bases(void)
{
    const unsigned long fsgsbase = 1 << 1; /* HWCAP2_FSGSBASE */
    if (!(getauxval(AT_HWCAP2) & fsgsbase))
        return 0;
    cpu_set_t before, one;
    CHECK(sched_getaffinity(0, sizeof before, &before) == 0);
    CPU_ZERO(&one);
    for (int cpu = 0; CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &before))
            CPU_SET(cpu, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    pthread_t other = start(has_base, NULL);
    const uint64_t mine = 0xffffffff80000000;
    set_base(mine);
    uint64_t found = mine;
    for (int i = 0; i < 5000 && (found == mine || found == 0); i++) {
        sched_yield();
        found = get_base();
    }
    set_base(0);
    __atomic_store_n(&done, 1, __ATOMIC_SEQ_CST);
    join(other);
    CHECK(found == mine || found == 0);
    CHECK(sched_setaffinity(0, sizeof before, &before) == 0);
    return 0;
}

/* Timers that expire all the time, and of a clock that stands still: the program gets on. */
static int timers(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_NONE};
    struct itimerspec often = {.it_value = {0, 1}, .it_interval = {0, 1}};
    timer_t timer;
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 && timer_settime(timer, 0, &often, NULL) == 0);
    for (volatile int i = 0; i < 5000000; i++)
        ;
    sleep_ms(20);
    CHECK(timer_delete(timer) == 0);
    struct itimerval soon = {.it_value = {0, 900000}, .it_interval = {0, 1}}, off = {{0, 0}, {0, 0}};
    CHECK(setitimer(ITIMER_PROF, &soon, NULL) == 0);
    sleep_ms(50);
    CHECK(setitimer(ITIMER_PROF, &off, NULL) == 0);
    return 0;
}

static int ends[2];

static void *reads(void *buffer)
{
    return (void *)(intptr_t)read(ends[0], buffer, 8 << 20);
}

/* A buffer goes while Linux has it: what it is then is nobody's, or nothing. */
static int buffers(void)
{
    const size_t len = 8 << 20;
    CHECK(pipe(ends) == 0);
    for (int round = 0; round < 20; round++) {
        char *buffer = mmap(NULL, len + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(buffer != MAP_FAILED);
        pthread_t reader = start(reads, buffer + round % 2 * page);
        sleep_ms(2);
        /* Nothing else comes to these addresses. */
        CHECK(mmap(buffer, len + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == buffer);
        char *others = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(others != MAP_FAILED);
        for (size_t at = 0; at < len; at += page)
            others[at] = 7;
        CHECK(write(ends[1], "xyz", 3) == 3);
        long got = (long)(intptr_t)join(reader);
        CHECK(got == 3 || got == -1);
        if (got == -1) {
            /* Linux took as much as it could, which is nothing. */
            char rest[3];
            CHECK(read(ends[0], rest, 3) == 3);
        }
        for (size_t at = 0; at < len; at += page)
            CHECK(others[at] == 7);
        CHECK(munmap(others, len) == 0 && munmap(buffer, len + page) == 0);
    }
    return 0;
}

int main(int argc, char **argv)
{
    /* The threads of the last one stay. */
    static const struct part parts[] = {
        {"areas", areas},   {"permissions", permissions}, {"moving", moving},   {"bases", bases},
        {"timers", timers}, {"buffers", buffers},         {"signals", signals},
    };
    int status = RUN_PARTS(parts, argc, argv);
    _exit(status);
}
