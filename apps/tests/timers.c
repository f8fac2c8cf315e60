// SPDX-License-Identifier: MIT OR Apache-2.0

// Timers that send signals: alarm, setitimer in real time and CPU time, timer_create to the process, to one
// thread and with a thread of its own. None may be early; how late they are doesn't matter.

#define _GNU_SOURCE
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "check.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static atomic_int count, code, value, handled_by;

static void note(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    code = info->si_code;
    value = info->si_value.sival_int;
    handled_by = (int)syscall(SYS_gettid);
    count++;
}

static void on(int number)
{
    struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO | SA_RESTART};
    MUST(sigaction(number, &action, NULL) == 0);
    count = 0;
}

/* Without any system call. */
static void compute_until(int wanted)
{
    volatile long loops = 0;
    while (atomic_load_explicit(&count, memory_order_relaxed) < wanted)
        loops = loops + 1;
}

static int alarms(void)
{
    on(SIGALRM);
    uint64_t before = now(CLOCK_MONOTONIC);
    CHECK(alarm(100) == 0);
    unsigned left = alarm(1);
    CHECK(left == 100 || left == 99);
    while (count == 0)
        pause();
    CHECK(now(CLOCK_MONOTONIC) - before >= 1000 * MS);
    CHECK(count == 1 && code == SI_KERNEL);
    CHECK(alarm(10) == 0 && alarm(0) > 0 && alarm(0) == 0);
    return 0;
}

static struct timeval timeval_of(long us)
{
    return (struct timeval){.tv_sec = us / 1000000, .tv_usec = us % 1000000};
}

static int interval(int which, int number)
{
    struct itimerval timer = {.it_value = timeval_of(20000), .it_interval = timeval_of(10000)}, old;
    on(number);
    uint64_t before = now(CLOCK_MONOTONIC);
    CHECK(setitimer(which, &timer, NULL) == 0);
    CHECK(getitimer(which, &old) == 0);
    CHECK(old.it_interval.tv_sec == 0 && old.it_interval.tv_usec >= 10000 && old.it_interval.tv_usec <= 20000);
    CHECK(old.it_value.tv_sec == 0 && old.it_value.tv_usec <= 30000);
    compute_until(4);
    if (which == ITIMER_REAL)
        CHECK(now(CLOCK_MONOTONIC) - before >= 50 * MS);
    /* Then no more. */
    CHECK(setitimer(which, &(struct itimerval){{0, 0}, {0, 0}}, &old) == 0);
    CHECK(old.it_interval.tv_usec >= 10000);
    int last = count;
    sleep_ms(30);
    CHECK_IS(count, last);
    CHECK(getitimer(which, &old) == 0);
    CHECK(old.it_value.tv_sec == 0 && old.it_value.tv_usec == 0);
    return 0;
}

static int real_intervals(void)
{
    return interval(ITIMER_REAL, SIGALRM);
}

static int cpu_intervals(void)
{
    return interval(ITIMER_VIRTUAL, SIGVTALRM) || interval(ITIMER_PROF, SIGPROF);
}

static int is_off(timer_t timer)
{
    struct itimerspec left;
    MUST(timer_gettime(timer, &left) == 0);
    return left.it_value.tv_sec == 0 && left.it_value.tv_nsec == 0;
}

static int sends_to_the_process(void)
{
    static const clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_REALTIME};
    for (int i = 0; i < 2; i++) {
        timer_t timer;
        struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
        event.sigev_value.sival_int = 77 + i;
        struct itimerspec once = {.it_value = timespec_of(20 * MS)}, left;
        on(SIGRTMIN);
        CHECK(timer_create(clocks[i], &event, &timer) == 0 && is_off(timer));
        uint64_t before = now(CLOCK_MONOTONIC);
        CHECK(timer_settime(timer, 0, &once, NULL) == 0);
        compute_until(1);
        CHECK(now(CLOCK_MONOTONIC) - before >= 20 * MS);
        CHECK(count == 1 && code == SI_TIMER && value == 77 + i && is_off(timer));
        /* At a time that has come already: at once. */
        once.it_value = timespec_of(now(clocks[i]) - 1);
        CHECK(timer_settime(timer, TIMER_ABSTIME, &once, NULL) == 0);
        compute_until(2);
        once.it_value = timespec_of(now(clocks[i]) + 20 * MS);
        CHECK(timer_settime(timer, TIMER_ABSTIME, &once, NULL) == 0);
        compute_until(3);
        CHECK(now(clocks[i]) >= (uint64_t)once.it_value.tv_sec * 1000000000 + (uint64_t)once.it_value.tv_nsec);
        /* Again and again, until it is changed. */
        struct itimerspec often = {.it_value = timespec_of(5 * MS), .it_interval = timespec_of(5 * MS)};
        CHECK(timer_settime(timer, 0, &often, NULL) == 0);
        compute_until(6);
        struct itimerspec off = {0};
        CHECK(timer_settime(timer, 0, &off, &left) == 0);
        CHECK(left.it_interval.tv_sec == 0 && left.it_interval.tv_nsec == (long)(5 * MS));
        int last = count;
        sleep_ms(20);
        CHECK_IS(count, last);
        CHECK(timer_delete(timer) == 0);
    }
    return 0;
}

static atomic_int computing;

static void *computes(void *arg)
{
    computing = (int)syscall(SYS_gettid);
    compute_until((int)(intptr_t)arg);
    return NULL;
}

/* As profilers do: each thread has a timer, and gets its signals though it makes no system call. */
static int sends_to_a_thread(void)
{
    on(SIGRTMIN);
    computing = 0;
    pthread_t thread = start(computes, (void *)(intptr_t)5);
    while (!computing)
        sched_yield();
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 5};
    event.sigev_notify_thread_id = computing;
    struct itimerspec often = {.it_value = timespec_of(5 * MS), .it_interval = timespec_of(5 * MS)}, off = {0};
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    CHECK(timer_settime(timer, 0, &often, NULL) == 0);
    compute_until(5);
    CHECK(timer_settime(timer, 0, &off, NULL) == 0);
    CHECK(handled_by == computing && value == 5);
    join(thread);
    CHECK(timer_delete(timer) == 0);
    event.sigev_notify_thread_id = 0x3fffffff;
    CHECK_ERRNO(timer_create(CLOCK_MONOTONIC, &event, &timer), EINVAL);
    return 0;
}

static void note_value(union sigval v)
{
    value = v.sival_int;
    count++;
}

static int calls_a_thread(void)
{
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_value.sival_int = 31};
    event.sigev_notify_function = note_value;
    struct itimerspec often = {.it_value = timespec_of(5 * MS), .it_interval = timespec_of(5 * MS)};
    count = 0;
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    CHECK(timer_settime(timer, 0, &often, NULL) == 0);
    while (count < 3)
        sleep_ms(1);
    CHECK(value == 31 && timer_delete(timer) == 0);
    return 0;
}

static int sends_nothing(void)
{
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_NONE};
    struct itimerspec once = {.it_value = timespec_of(30 * MS)}, left;
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    CHECK(timer_settime(timer, 0, &once, NULL) == 0);
    CHECK(timer_gettime(timer, &left) == 0 && left.it_value.tv_sec == 0 && left.it_value.tv_nsec <= (long)(30 * MS));
    sleep_ms(31);
    CHECK(is_off(timer) && timer_delete(timer) == 0);
    return 0;
}

/* Expirations that find the signal pending are counted. */
static int counts_overruns(void)
{
    timer_t timer;
    siginfo_t info;
    sigset_t set, none;
    sigemptyset(&none);
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
    struct itimerspec often = {.it_value = timespec_of(5 * MS), .it_interval = timespec_of(5 * MS)}, off = {0};
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    CHECK(timer_settime(timer, 0, &often, NULL) == 0);
    sleep_ms(55);
    CHECK(sigwaitinfo(&set, &info) == SIGRTMIN && info.si_code == SI_TIMER);
    CHECK(info.si_overrun >= 9 && timer_getoverrun(timer) >= 9);
    CHECK(timer_settime(timer, 0, &off, NULL) == 0);
    CHECK(timer_delete(timer) == 0);
    struct timespec zero = {0, 0};
    while (sigtimedwait(&set, NULL, &zero) == SIGRTMIN)
        ;
    CHECK(sigprocmask(SIG_SETMASK, &none, NULL) == 0);
    return 0;
}

static int refuses(void)
{
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = 65};
    struct itimerspec bad = {.it_value = {0, 1000000000}};
    struct itimerval bad_too = {.it_value = {0, 1000000}};
    CHECK_ERRNO(timer_create(CLOCK_MONOTONIC, &event, &timer), EINVAL);
    event.sigev_signo = SIGRTMIN;
    CHECK_ERRNO(timer_create(12345, &event, &timer), EINVAL);
    event.sigev_notify = 99;
    CHECK_ERRNO(timer_create(CLOCK_MONOTONIC, &event, &timer), EINVAL);
    event.sigev_notify = SIGEV_NONE;
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    CHECK_ERRNO(timer_settime(timer, 0, &bad, NULL), EINVAL);
    bad.it_value = (struct timespec){-1, 0};
    CHECK_ERRNO(timer_settime(timer, 0, &bad, NULL), EINVAL);
    CHECK(timer_delete(timer) == 0);
    CHECK_ERRNO(syscall(SYS_timer_delete, 12345), EINVAL);
    CHECK_ERRNO(syscall(SYS_timer_getoverrun, 12345), EINVAL);
    CHECK_ERRNO(setitimer(ITIMER_REAL, &bad_too, NULL), EINVAL);
    CHECK_ERRNO(setitimer(99, &bad_too, NULL), EINVAL);
    CHECK_ERRNO(getitimer(99, &bad_too), EINVAL);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct part parts[] = {
        {"alarms", alarms},
        {"real intervals", real_intervals},
        {"CPU intervals", cpu_intervals},
        {"sends to the process", sends_to_the_process},
        {"sends to a thread", sends_to_a_thread},
        {"calls a thread", calls_a_thread},
        {"sends nothing", sends_nothing},
        {"counts overruns", counts_overruns},
        {"refuses", refuses},
    };
    return RUN_PARTS(parts, argc, argv);
}
