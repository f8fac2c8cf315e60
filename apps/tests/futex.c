// SPDX-License-Identifier: MIT OR Apache-2.0

// The futex system call itself: waiting and waking, bit sets, requeueing, WAKE_OP, timeouts on both clocks, what
// signals do to it, and wrong arguments.

#define _GNU_SOURCE
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "check.h"

#define PRIVATE FUTEX_PRIVATE_FLAG
#define ALL_BITS FUTEX_BITSET_MATCH_ANY

typedef _Atomic uint32_t word;

static long futex(void *at, int op, uint32_t value, const void *timeout_or_value2, void *at2, uint32_t value3)
{
    return syscall(SYS_futex, at, op, value, timeout_or_value2, at2, value3);
}

static const void *number(long value2)
{
    return (const void *)value2;
}

static word a, b;

/* Threads that wait for a, at bits of their own. */
struct waiter {
    pthread_t thread;
    uint32_t bits;
    int private;
    atomic_int woken;
    long result;
};

static void *waits(void *arg)
{
    struct waiter *me = arg;
    me->result = futex(&a, FUTEX_WAIT_BITSET | me->private, 0, NULL, NULL, me->bits);
    if (me->result == -1)
        me->result = -errno;
    me->woken = 1;
    return NULL;
}

static void start_waiter(struct waiter *waiter, uint32_t bits)
{
    *waiter = (struct waiter){.bits = bits, .private = PRIVATE};
    waiter->thread = start(waits, waiter);
}

static int finish(struct waiter *waiter)
{
    join(waiter->thread);
    CHECK_IS(waiter->result, 0);
    return 0;
}

/* Requeues all who wait for a to b until there are so many: so they are known to wait. */
static int gather(int count)
{
    int moved = 0;
    while (moved < count) {
        long result = futex(&a, FUTEX_CMP_REQUEUE | PRIVATE, 0, number(INT_MAX), &b, 0);
        CHECK(result >= 0);
        moved += (int)result;
        sleep_ms(1);
    }
    CHECK_IS(moved, count);
    return 0;
}

static int compares(void)
{
    struct timespec zero = {0, 0}, hour = {3600, 0};
    a = 5;
    CHECK_ERRNO(futex(&a, FUTEX_WAIT | PRIVATE, 4, NULL, NULL, 0), EAGAIN);
    CHECK_ERRNO(futex(&a, FUTEX_WAIT | PRIVATE, 4, &hour, NULL, 0), EAGAIN);
    CHECK_ERRNO(futex(&a, FUTEX_WAIT, 4, NULL, NULL, 0), EAGAIN);
    CHECK_ERRNO(futex(&a, FUTEX_WAIT_BITSET | PRIVATE, 4, NULL, NULL, 1), EAGAIN);
    CHECK_ERRNO(futex(&a, FUTEX_WAIT | PRIVATE, 5, &zero, NULL, 0), ETIMEDOUT);
    CHECK_ERRNO(futex(&a, FUTEX_CMP_REQUEUE | PRIVATE, 1, number(1), &b, 4), EAGAIN);
    CHECK_IS(futex(&a, FUTEX_WAKE | PRIVATE, 10, NULL, NULL, 0), 0);
    CHECK_IS(futex(&a, FUTEX_WAKE, 10, NULL, NULL, 0), 0);
    return 0;
}

static int wakes(void)
{
    enum { THREADS = 8 };
    struct waiter waiters[THREADS];
    for (int private = 0; private <= PRIVATE; private += PRIVATE) {
        a = 0;
        for (int i = 0; i < THREADS; i++) {
            waiters[i] = (struct waiter){.bits = ALL_BITS, .private = private};
            waiters[i].thread = start(waits, &waiters[i]);
        }
        /* One at a time, then the rest. */
        for (int woken = 0; woken < 3;) {
            long result = futex(&a, FUTEX_WAKE | private, 1, NULL, NULL, 0);
            CHECK(result == 0 || result == 1);
            woken += (int)result;
        }
        for (int woken = 3; woken < THREADS;) {
            long result = futex(&a, FUTEX_WAKE | private, INT_MAX, NULL, NULL, 0);
            CHECK(result >= 0);
            woken += (int)result;
        }
        for (int i = 0; i < THREADS; i++)
            if (finish(&waiters[i]))
                return 1;
    }
    return 0;
}

static int wakes_by_bits(void)
{
    struct waiter waiters[4];
    a = b = 0;
    for (int i = 0; i < 4; i++)
        start_waiter(&waiters[i], 1u << i);
    if (gather(4))
        return 1;
    CHECK_IS(futex(&b, FUTEX_WAKE_BITSET | PRIVATE, 10, NULL, NULL, 0x10), 0);
    CHECK_IS(futex(&b, FUTEX_WAKE_BITSET | PRIVATE, 10, NULL, NULL, 0xfff4), 1);
    CHECK(finish(&waiters[2]) == 0);
    CHECK_IS(futex(&b, FUTEX_WAKE_BITSET | PRIVATE, 10, NULL, NULL, 9), 2);
    CHECK(finish(&waiters[0]) == 0 && finish(&waiters[3]) == 0);
    CHECK(!waiters[1].woken);
    CHECK_IS(futex(&b, FUTEX_WAKE | PRIVATE, 1, NULL, NULL, 0), 1);
    return finish(&waiters[1]);
}

static int requeues(void)
{
    struct waiter waiters[5];
    a = b = 0;
    for (int i = 0; i < 5; i++)
        start_waiter(&waiters[i], ALL_BITS);
    if (gather(5))
        return 1;
    /* All wait for b now: one is woken, two go to a, two stay. */
    CHECK_IS(futex(&b, FUTEX_CMP_REQUEUE | PRIVATE, 1, number(2), &a, 0), 3);
    CHECK_IS(futex(&a, FUTEX_WAKE | PRIVATE, 10, NULL, NULL, 0), 2);
    CHECK_IS(futex(&b, FUTEX_REQUEUE | PRIVATE, 0, number(1), &a, 0), 1);
    CHECK_IS(futex(&b, FUTEX_WAKE | PRIVATE, 10, NULL, NULL, 0), 1);
    CHECK_IS(futex(&a, FUTEX_WAKE | PRIVATE, 10, NULL, NULL, 0), 1);
    for (int i = 0; i < 5; i++)
        if (finish(&waiters[i]))
            return 1;
    return 0;
}

/* WAKE_OP changes b, wakes at a, and at b if what was there compares. */
static int wakes_and_changes(void)
{
    static const struct { int op; uint32_t argument, before, after; } changes[] = {
        {FUTEX_OP_SET, 7, 100, 7},
        {FUTEX_OP_ADD, 7, 100, 107},
        {FUTEX_OP_OR, 6, 0x11, 0x17},
        {FUTEX_OP_ANDN, 6, 0x17, 0x11},
        {FUTEX_OP_XOR, 6, 0x13, 0x15},
        {FUTEX_OP_SET | FUTEX_OP_OPARG_SHIFT, 5, 0, 32},
        {FUTEX_OP_ADD, 0xfff /* -1 */, 100, 99},
    };
    a = 0;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        b = changes[i].before;
        uint32_t op = (uint32_t)changes[i].op << 28 | FUTEX_OP_CMP_EQ << 24 | changes[i].argument << 12;
        CHECK_IS(futex(&a, FUTEX_WAKE_OP | PRIVATE, 1, number(1), &b, op), 0);
        CHECK_IS(b, changes[i].after);
    }
    CHECK_ERRNO(futex(&a, FUTEX_WAKE_OP | PRIVATE, 1, number(1), &b, FUTEX_OP(5, 0, FUTEX_OP_CMP_EQ, 0)), ENOSYS);

    static const struct { int compare; uint32_t with; int holds; } compares[] = {
        {FUTEX_OP_CMP_EQ, 10, 1}, {FUTEX_OP_CMP_EQ, 9, 0}, {FUTEX_OP_CMP_NE, 9, 1}, {FUTEX_OP_CMP_NE, 10, 0},
        {FUTEX_OP_CMP_LT, 11, 1}, {FUTEX_OP_CMP_LT, 10, 0}, {FUTEX_OP_CMP_LE, 10, 1}, {FUTEX_OP_CMP_LE, 9, 0},
        {FUTEX_OP_CMP_GT, 9, 1}, {FUTEX_OP_CMP_GT, 10, 0}, {FUTEX_OP_CMP_GE, 10, 1}, {FUTEX_OP_CMP_GE, 11, 0},
    };
    for (size_t i = 0; i < sizeof compares / sizeof *compares; i++) {
        struct waiter waiter;
        a = b = 0;
        start_waiter(&waiter, ALL_BITS);
        if (gather(1))
            return 1;
        b = 10;
        uint32_t op = (uint32_t)FUTEX_OP_SET << 28 | (uint32_t)compares[i].compare << 24 | 1 << 12 | compares[i].with;
        CHECK_IS(futex(&a, FUTEX_WAKE_OP | PRIVATE, 1, number(1), &b, op), compares[i].holds);
        CHECK_IS(b, 1);
        if (!compares[i].holds)
            CHECK_IS(futex(&b, FUTEX_WAKE | PRIVATE, 1, NULL, NULL, 0), 1);
        if (finish(&waiter))
            return 1;
    }
    return 0;
}

static int times_out(void)
{
    struct timespec t = timespec_of(20 * MS);
    a = 0;
    uint64_t before = now(CLOCK_MONOTONIC);
    CHECK_ERRNO(futex(&a, FUTEX_WAIT | PRIVATE, 0, &t, NULL, 0), ETIMEDOUT);
    CHECK(now(CLOCK_MONOTONIC) - before >= 20 * MS);
    static const struct { clockid_t clock; int flag; } clocks[] = {
        {CLOCK_MONOTONIC, 0}, {CLOCK_REALTIME, FUTEX_CLOCK_REALTIME},
    };
    for (int i = 0; i < 2; i++) {
        int op = FUTEX_WAIT_BITSET | PRIVATE | clocks[i].flag;
        uint64_t until = now(clocks[i].clock) + 20 * MS;
        t = timespec_of(until);
        CHECK_ERRNO(futex(&a, op, 0, &t, NULL, ALL_BITS), ETIMEDOUT);
        CHECK(now(clocks[i].clock) >= until);
        t = timespec_of(now(clocks[i].clock) - 1);
        CHECK_ERRNO(futex(&a, op, 0, &t, NULL, ALL_BITS), ETIMEDOUT);
        t = (struct timespec){1, 0};
        CHECK_ERRNO(futex(&a, op, 0, &t, NULL, ALL_BITS), ETIMEDOUT);
    }
    /* One that waits with a timeout can be woken before. */
    struct waiter waiter;
    b = 0;
    start_waiter(&waiter, ALL_BITS);
    if (gather(1))
        return 1;
    CHECK_IS(futex(&b, FUTEX_WAKE | PRIVATE, 1, NULL, NULL, 0), 1);
    return finish(&waiter);
}

static atomic_int handled, interrupted;

static void handler(int number_)
{
    (void)number_;
    handled++;
}

static void *is_interrupted(void *arg)
{
    struct timespec hour = {3600, 0};
    long result = futex(&a, FUTEX_WAIT | PRIVATE, 0, arg ? &hour : NULL, NULL, 0);
    interrupted = result == -1 ? errno : 1000 + (int)result;
    return NULL;
}

static int is_interruptible(void)
{
    struct sigaction action = {.sa_handler = handler};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    a = 0;
    for (intptr_t timeout = 0; timeout < 2; timeout++) {
        interrupted = 0;
        pthread_t thread = start(is_interrupted, (void *)timeout);
        while (!interrupted) {
            CHECK(pthread_kill(thread, SIGUSR1) == 0);
            sleep_ms(1);
        }
        join(thread);
        CHECK_IS(interrupted, EINTR);
    }
    /* With SA_RESTART it goes on, without a timeout. */
    action.sa_flags = SA_RESTART;
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    interrupted = 0;
    pthread_t thread = start(is_interrupted, NULL);
    for (int i = 0; i < 5; i++) {
        int before = handled;
        CHECK(pthread_kill(thread, SIGUSR1) == 0);
        while (handled == before)
            sleep_ms(1);
    }
    sleep_ms(2);
    CHECK_IS(interrupted, 0);
    a = 1;
    while (!interrupted) {
        futex(&a, FUTEX_WAKE | PRIVATE, 1, NULL, NULL, 0);
        sleep_ms(1);
    }
    join(thread);
    CHECK(interrupted == 1000 || interrupted == EAGAIN); /* the latter if the handler had just returned */
    return 0;
}

static int refuses(void)
{
    static char bytes[16] __attribute__((aligned(16)));
    struct timespec bad = {0, 1000000000}, negative = {-1, 0};
    void *unmapped = (void *)0x10000, *kernel = (void *)0xffffffff81000000;
    a = b = 0;
    CHECK_ERRNO(futex(bytes + 1, FUTEX_WAIT | PRIVATE, 0, NULL, NULL, 0), EINVAL);
    CHECK_ERRNO(futex(bytes + 2, FUTEX_WAKE | PRIVATE, 1, NULL, NULL, 0), EINVAL);
    CHECK_ERRNO(futex(&a, FUTEX_REQUEUE | PRIVATE, 1, number(1), bytes + 2, 0), EINVAL);
    CHECK_ERRNO(futex(NULL, FUTEX_WAIT | PRIVATE, 0, NULL, NULL, 0), EFAULT);
    CHECK_ERRNO(futex(unmapped, FUTEX_WAIT | PRIVATE, 0, NULL, NULL, 0), EFAULT);
    CHECK_ERRNO(futex(unmapped, FUTEX_WAIT, 0, NULL, NULL, 0), EFAULT);
    CHECK_ERRNO(futex(unmapped, FUTEX_WAKE, 1, NULL, NULL, 0), EFAULT);
    CHECK_ERRNO(futex(kernel, FUTEX_WAIT | PRIVATE, 0, NULL, NULL, 0), EFAULT);
    CHECK_ERRNO(futex(kernel, FUTEX_WAKE | PRIVATE, 1, NULL, NULL, 0), EFAULT);
    /* Private: nobody can wait there, and nobody looks. */
    CHECK_IS(futex(unmapped, FUTEX_WAKE | PRIVATE, 1, NULL, NULL, 0), 0);
    CHECK_ERRNO(futex(&a, FUTEX_WAKE_OP | PRIVATE, 1, number(1), unmapped, 0), EFAULT);
    CHECK_ERRNO(futex(unmapped, FUTEX_CMP_REQUEUE | PRIVATE, 1, number(1), &b, 0), EFAULT);
    CHECK_ERRNO(futex(&a, FUTEX_WAIT | PRIVATE, 0, unmapped, NULL, 0), EFAULT);
    CHECK_ERRNO(futex(&a, FUTEX_WAIT | PRIVATE, 0, &bad, NULL, 0), EINVAL);
    CHECK_ERRNO(futex(&a, FUTEX_WAIT | PRIVATE, 0, &negative, NULL, 0), EINVAL);
    CHECK_ERRNO(futex(&a, FUTEX_WAIT_BITSET | PRIVATE, 0, NULL, NULL, 0), EINVAL);
    CHECK_ERRNO(futex(&a, FUTEX_WAKE_BITSET | PRIVATE, 1, NULL, NULL, 0), EINVAL);
    CHECK_ERRNO(futex(&a, FUTEX_CMP_REQUEUE | PRIVATE, (uint32_t)-1, number(1), &b, 0), EINVAL);
    CHECK_ERRNO(futex(&a, FUTEX_CMP_REQUEUE | PRIVATE, 1, number(-1), &b, 0), EINVAL);
    CHECK_ERRNO(futex(&a, FUTEX_WAKE | FUTEX_CLOCK_REALTIME | PRIVATE, 1, NULL, NULL, 0), ENOSYS);
    CHECK_ERRNO(futex(&a, FUTEX_FD, 1, NULL, NULL, 0), ENOSYS);
    CHECK_ERRNO(futex(&a, 99, 1, NULL, NULL, 0), ENOSYS);
    /* Memory that only can be read. */
    uint32_t *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    CHECK_ERRNO(futex(page, FUTEX_WAIT | PRIVATE, 1, NULL, NULL, 0), EAGAIN);
    CHECK_ERRNO(futex(&a, FUTEX_WAKE_OP | PRIVATE, 1, number(1), page, 0), EFAULT);
    CHECK(munmap(page, 4096) == 0);
    return 0;
}

/* A lock made of nothing but a futex (0 free, 1 held, 2 held and awaited). */
static word lock;
static long protected_count;

static void *locks(void *arg)
{
    (void)arg;
    for (int i = 0; i < 5000; i++) {
        uint32_t expected = 0;
        if (!atomic_compare_exchange_strong(&lock, &expected, 1))
            while (atomic_exchange(&lock, 2) != 0)
                futex(&lock, FUTEX_WAIT | PRIVATE, 2, NULL, NULL, 0);
        long before = protected_count;
        if (i % 64 == 0)
            sched_yield();
        protected_count = before + 1;
        if (atomic_exchange(&lock, 0) == 2)
            futex(&lock, FUTEX_WAKE | PRIVATE, 1, NULL, NULL, 0);
    }
    return NULL;
}

static int makes_locks(void)
{
    enum { THREADS = 6 };
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        threads[i] = start(locks, NULL);
    for (int i = 0; i < THREADS; i++)
        join(threads[i]);
    CHECK_IS(protected_count, THREADS * 5000);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct part parts[] = {
        {"compares", compares},
        {"wakes", wakes},
        {"wakes by bits", wakes_by_bits},
        {"requeues", requeues},
        {"wakes and changes", wakes_and_changes},
        {"times out", times_out},
        {"is interruptible", is_interruptible},
        {"refuses", refuses},
        {"makes locks", makes_locks},
    };
    return RUN_PARTS(parts, argc, argv);
}
