// SPDX-License-Identifier: MIT OR Apache-2.0

// Time: clocks that never go back, over all threads; clocks that agree with each other; sleeps that are never too
// short, on all clocks; CPU time that grows when and where a thread computes.

#define _GNU_SOURCE
#include <sched.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/times.h>

#include "check.h"

static _Atomic uint64_t latest;
static clockid_t common_clock;

/* A time that one thread has seen is in the past of all. */
static void *watches(void *arg)
{
    (void)arg;
    for (int i = 0; i < 20000; i++) {
        uint64_t seen = latest, mine = now(common_clock);
        MUST(mine >= seen);
        while (seen < mine && !atomic_compare_exchange_weak(&latest, &seen, mine))
            ;
        if (i % 512 == 0)
            sched_yield();
    }
    return NULL;
}

static int never_go_back(void)
{
    static const clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME, CLOCK_MONOTONIC_COARSE};
    for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
        enum { THREADS = 4 };
        pthread_t threads[THREADS];
        common_clock = clocks[i];
        uint64_t before = latest = now(common_clock);
        for (int j = 0; j < THREADS; j++)
            threads[j] = start(watches, NULL);
        for (int j = 0; j < THREADS; j++)
            join(threads[j]);
        while (now(common_clock) == before)
            sleep_ms(1);
        CHECK(now(common_clock) > before);
    }
    return 0;
}

static int agree(void)
{
    for (int i = 0; i < 1000; i++) {
        struct timeval of_day;
        uint64_t before = now(CLOCK_REALTIME);
        CHECK(gettimeofday(&of_day, NULL) == 0);
        uint64_t after = now(CLOCK_REALTIME);
        uint64_t us = (uint64_t)of_day.tv_sec * 1000000 + (uint64_t)of_day.tv_usec;
        CHECK(us >= before / 1000 && us <= after / 1000);
        /* Those of seconds and the coarse ones may be late: by a tick, more on a busy virtual machine. */
        uint64_t seconds = (uint64_t)time(NULL), coarse = now(CLOCK_REALTIME_COARSE), end = now(CLOCK_REALTIME);
        CHECK(seconds * 1000000000 + 1500 * MS >= before && seconds <= end / 1000000000);
        CHECK(coarse + 500 * MS >= before && coarse <= end);
        CHECK((uint64_t)syscall(SYS_time, NULL) >= seconds);
    }
    /* 2025 to 2100 */
    CHECK(time(NULL) > 1735689600 && time(NULL) < 4102444800);
    /* The calls and what the C library may take from a vDSO are the same clocks. */
    struct timespec t;
    uint64_t before = now(CLOCK_MONOTONIC);
    CHECK(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t) == 0);
    uint64_t between = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
    CHECK(before <= between && between <= now(CLOCK_MONOTONIC));
    return 0;
}

static int run_alike(void)
{
    uint64_t real = now(CLOCK_REALTIME), mono = now(CLOCK_MONOTONIC), raw = now(CLOCK_MONOTONIC_RAW);
    sleep_ms(100);
    uint64_t mono_passed = now(CLOCK_MONOTONIC) - mono, raw_passed = now(CLOCK_MONOTONIC_RAW) - raw;
    uint64_t real_passed = now(CLOCK_REALTIME) - real;
    CHECK(mono_passed >= 100 * MS && raw_passed >= 95 * MS && real_passed >= 95 * MS);
    return 0;
}

static int sleep_long_enough(void)
{
    for (uint64_t ns = 1; ns <= 64 * MS; ns = ns * 4 + 1) {
        struct timespec t = timespec_of(ns);
        uint64_t before = now(CLOCK_MONOTONIC);
        CHECK(nanosleep(&t, NULL) == 0);
        CHECK(now(CLOCK_MONOTONIC) - before >= ns);
        static const clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME};
        for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
            before = now(clocks[i]);
            CHECK_IS(clock_nanosleep(clocks[i], 0, &t, NULL), 0);
            CHECK(now(clocks[i]) - before >= ns);
            struct timespec until = timespec_of(now(clocks[i]) + ns);
            CHECK_IS(clock_nanosleep(clocks[i], TIMER_ABSTIME, &until, NULL), 0);
            CHECK(now(clocks[i]) >= (uint64_t)until.tv_sec * 1000000000 + (uint64_t)until.tv_nsec);
        }
    }
    uint64_t before = now(CLOCK_MONOTONIC);
    CHECK(usleep(3000) == 0 && now(CLOCK_MONOTONIC) - before >= 3 * MS);
    /* What has passed already doesn't take long. */
    struct timespec past = {1, 0};
    CHECK_IS(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &past, NULL), 0);
    CHECK_IS(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &past, NULL), 0);
    return 0;
}

static void *sleeps(void *arg)
{
    uint64_t ms = (uintptr_t)arg, before = now(CLOCK_MONOTONIC);
    sleep_ms((unsigned)ms);
    MUST(now(CLOCK_MONOTONIC) - before >= ms * MS);
    return NULL;
}

/* Many sleep at the same time: together it takes as long as the longest, not the sum. */
static int sleep_together(void)
{
    enum { THREADS = 50 };
    pthread_t threads[THREADS];
    uint64_t before = now(CLOCK_MONOTONIC);
    for (uintptr_t i = 0; i < THREADS; i++)
        threads[i] = start(sleeps, (void *)(200 + i * 7 % 50));
    for (int i = 0; i < THREADS; i++)
        join(threads[i]);
    CHECK(now(CLOCK_MONOTONIC) - before < 5000 * MS);
    return 0;
}

static int have_resolutions(void)
{
    static const clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME,
                                       CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};
    struct timespec t;
    for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
        CHECK(clock_getres(clocks[i], &t) == 0);
        CHECK(t.tv_sec == 0 && t.tv_nsec > 0 && t.tv_nsec <= (long)(10 * MS));
        CHECK(clock_getres(clocks[i], NULL) == 0);
    }
    CHECK(clock_getres(CLOCK_MONOTONIC_COARSE, &t) == 0);
    CHECK(t.tv_sec == 0 && t.tv_nsec > 0 && t.tv_nsec <= (long)(10 * MS));
    return 0;
}

/* Computes until the thread has had so much CPU time. */
static void compute(uint64_t ms)
{
    uint64_t end = now(CLOCK_THREAD_CPUTIME_ID) + ms * MS;
    while (now(CLOCK_THREAD_CPUTIME_ID) < end)
        for (volatile int i = 0; i < 10000; i = i + 1)
            ;
}

static void *computes(void *arg)
{
    uint64_t before = now(CLOCK_THREAD_CPUTIME_ID);
    MUST(before < 1000 * MS); /* a new thread's clock begins at 0 */
    compute((uintptr_t)arg);
    MUST(now(CLOCK_THREAD_CPUTIME_ID) - before >= (uintptr_t)arg * MS);
    return NULL;
}

static int count_cpu_time(void)
{
    uint64_t wall = now(CLOCK_MONOTONIC), thread = now(CLOCK_THREAD_CPUTIME_ID);
    uint64_t process = now(CLOCK_PROCESS_CPUTIME_ID);
    clock_t by_clock = clock();
    compute(60);
    uint64_t used = now(CLOCK_THREAD_CPUTIME_ID) - thread;
    CHECK(used >= 60 * MS);
    CHECK(now(CLOCK_PROCESS_CPUTIME_ID) - process + 5 * MS >= used); /* the clocks were not read at once */
    CHECK(now(CLOCK_MONOTONIC) - wall + MS >= used);
    CHECK(clock() - by_clock >= 60 * (CLOCKS_PER_SEC / 1000));
    /* Not while it sleeps. */
    thread = now(CLOCK_THREAD_CPUTIME_ID);
    process = now(CLOCK_PROCESS_CPUTIME_ID);
    sleep_ms(200);
    CHECK(now(CLOCK_THREAD_CPUTIME_ID) - thread < 100 * MS);
    CHECK(now(CLOCK_PROCESS_CPUTIME_ID) - process < 100 * MS);
    /* Two threads: the process has the sum, this one little of it. */
    thread = now(CLOCK_THREAD_CPUTIME_ID);
    process = now(CLOCK_PROCESS_CPUTIME_ID);
    pthread_t first = start(computes, (void *)50), second = start(computes, (void *)50);
    join(first);
    join(second);
    CHECK(now(CLOCK_PROCESS_CPUTIME_ID) - process >= 100 * MS);
    CHECK(now(CLOCK_THREAD_CPUTIME_ID) - thread < 50 * MS);
    return 0;
}

static atomic_int stop;

static void *computes_until_stopped(void *arg)
{
    while (!atomic_load_explicit(&stop, memory_order_relaxed))
        ;
    return arg;
}

static int read_clocks_of_others(void)
{
    clockid_t clock, own;
    stop = 0;
    pthread_t thread = start(computes_until_stopped, NULL);
    CHECK(pthread_getcpuclockid(thread, &clock) == 0 && pthread_getcpuclockid(pthread_self(), &own) == 0);
    uint64_t before = now(clock);
    while (now(clock) - before < 10 * MS)
        sleep_ms(5);
    uint64_t mine = now(CLOCK_THREAD_CPUTIME_ID), by_id = now(own), later = now(CLOCK_THREAD_CPUTIME_ID);
    CHECK(mine <= by_id && by_id <= later);
    stop = 1;
    join(thread);
    CHECK(clock_getcpuclockid(0, &clock) == 0);
    mine = now(CLOCK_PROCESS_CPUTIME_ID);
    by_id = now(clock);
    CHECK(mine <= by_id && by_id <= now(CLOCK_PROCESS_CPUTIME_ID));
    return 0;
}

static uint64_t ns_of(const struct rusage *usage)
{
    return ((uint64_t)usage->ru_utime.tv_sec + (uint64_t)usage->ru_stime.tv_sec) * 1000000000 +
           ((uint64_t)usage->ru_utime.tv_usec + (uint64_t)usage->ru_stime.tv_usec) * 1000;
}

/* These two may count by ticks. */
static int count_usage(void)
{
    struct tms before, after;
    struct rusage self, self_after, thread, thread_after;
    CHECK(sysconf(_SC_CLK_TCK) == 100);
    clock_t start_ = times(&before);
    CHECK(start_ != (clock_t)-1);
    CHECK(getrusage(RUSAGE_SELF, &self) == 0 && getrusage(RUSAGE_THREAD, &thread) == 0);
    compute(150);
    clock_t end = times(&after);
    CHECK(getrusage(RUSAGE_SELF, &self_after) == 0 && getrusage(RUSAGE_THREAD, &thread_after) == 0);
    CHECK(end - start_ >= 14);
    CHECK(after.tms_utime + after.tms_stime - before.tms_utime - before.tms_stime >= 13);
    CHECK(after.tms_utime >= before.tms_utime && after.tms_stime >= before.tms_stime);
    CHECK(ns_of(&self_after) - ns_of(&self) >= 130 * MS && ns_of(&thread_after) - ns_of(&thread) >= 130 * MS);
    CHECK(self_after.ru_maxrss > 0 && ns_of(&self_after) + 20 * MS >= ns_of(&thread_after));
    CHECK(self_after.ru_utime.tv_usec < 1000000 && self_after.ru_stime.tv_usec < 1000000);
    /* It has started nothing, though what became this program may have. */
    CHECK(getrusage(RUSAGE_CHILDREN, &self) == 0);
    CHECK(after.tms_cutime == before.tms_cutime && after.tms_cstime == before.tms_cstime);
    return 0;
}

static int refuse(void)
{
    struct timespec bad = {0, 1000000000}, negative = {-1, 0}, zero = {0, 0};
    struct rusage usage;
    CHECK_ERRNO(nanosleep(&bad, NULL), EINVAL);
    CHECK_ERRNO(nanosleep(&negative, NULL), EINVAL);
    CHECK_IS(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &bad, NULL), EINVAL);
    CHECK_IS(clock_nanosleep(12345, 0, &zero, NULL), EINVAL);
    CHECK_IS(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &zero, NULL), EINVAL);
    CHECK_ERRNO(clock_gettime(12345, &zero), EINVAL);
    CHECK_ERRNO(clock_getres(12345, &zero), EINVAL);
    CHECK_ERRNO(clock_gettime(-1, &zero), EINVAL);
    CHECK_ERRNO(getrusage(99, &usage), EINVAL);
    CHECK(nanosleep(&zero, NULL) == 0);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct part parts[] = {
        {"never go back", never_go_back},
        {"agree", agree},
        {"run alike", run_alike},
        {"sleep long enough", sleep_long_enough},
        {"sleep together", sleep_together},
        {"have resolutions", have_resolutions},
        {"count CPU time", count_cpu_time},
        {"read clocks of others", read_clocks_of_others},
        {"count usage", count_usage},
        {"refuse", refuse},
    };
    return RUN_PARTS(parts, argc, argv);
}
