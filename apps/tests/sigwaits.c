// SPDX-License-Identifier: MIT OR Apache-2.0

// Signals and waiting: what waits for signals, what they interrupt and what goes on, and signals to threads
// that compute, wait, block them or share the process's.

#define _GNU_SOURCE
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "check.h"

static sigset_t set_of(int number)
{
    sigset_t set;
    sigemptyset(&set);
    if (number)
        sigaddset(&set, number);
    return set;
}

static atomic_int count;
static atomic_int handled_by; /* thread id */
static atomic_int stop;

static void note(int number)
{
    (void)number;
    handled_by = (int)syscall(SYS_gettid);
    count++;
}

static void set_stop(int number)
{
    note(number);
    stop = 1;
}

static void on(int number, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    MUST(sigaction(number, &action, NULL) == 0);
    count = stop = handled_by = 0;
}

static int is_blocked(int number)
{
    sigset_t set;
    MUST(pthread_sigmask(SIG_BLOCK, NULL, &set) == 0);
    return sigismember(&set, number);
}

static int suspends(void)
{
    sigset_t usr1 = set_of(SIGUSR1), none = set_of(0);
    on(SIGUSR1, note, 0);
    CHECK(sigprocmask(SIG_BLOCK, &usr1, NULL) == 0);
    for (int i = 1; i <= 20; i++) {
        raise(SIGUSR1);
        CHECK_IS(count, i - 1);
        CHECK_ERRNO(sigsuspend(&none), EINTR);
        CHECK_IS(count, i);
        CHECK(is_blocked(SIGUSR1));
    }
    CHECK(sigprocmask(SIG_SETMASK, &none, NULL) == 0);
    return 0;
}

/* Takes signals that are pending; no handler runs. */
static int takes_pending_signals(void)
{
    sigset_t set = set_of(SIGUSR1), none = set_of(0), pending;
    int number;
    siginfo_t info;
    struct timespec zero = {0, 0}, wait = {0, 30000000}, bad = {0, 1000000000};
    on(SIGUSR1, note, 0);
    sigaddset(&set, SIGRTMIN);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    raise(SIGUSR1);
    CHECK(sigwait(&set, &number) == 0 && number == SIGUSR1);
    CHECK(sigpending(&pending) == 0 && !sigismember(&pending, SIGUSR1));
    for (int i = 0; i < 3; i++)
        CHECK(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i + 7}) == 0);
    for (int i = 0; i < 3; i++) {
        CHECK(sigwaitinfo(&set, &info) == SIGRTMIN);
        CHECK(info.si_signo == SIGRTMIN && info.si_code == SI_QUEUE && info.si_pid == getpid());
        CHECK_IS(info.si_value.sival_int, i + 7);
    }
    CHECK_ERRNO(sigtimedwait(&set, &info, &zero), EAGAIN);
    uint64_t before = now(CLOCK_MONOTONIC);
    CHECK_ERRNO(sigtimedwait(&set, &info, &wait), EAGAIN);
    CHECK(now(CLOCK_MONOTONIC) - before >= 30 * MS);
    CHECK_ERRNO(sigtimedwait(&set, &info, &bad), EINVAL);
    CHECK(kill(getpid(), SIGUSR1) == 0);
    CHECK(sigtimedwait(&set, &info, &wait) == SIGUSR1 && info.si_code == SI_USER);
    CHECK_IS(count, 0);
    CHECK(sigprocmask(SIG_SETMASK, &none, NULL) == 0);
    return 0;
}

/* A thread that waits in some way, and whether it's done. */
struct waiter {
    pthread_t thread;
    long (*wait)(void); /* returns what became of it */
    long result;
    atomic_int id, done;
};

static void *run_waiter(void *arg)
{
    struct waiter *me = arg;
    me->id = (int)syscall(SYS_gettid);
    me->result = me->wait();
    me->done = 1;
    return NULL;
}

static void start_waiter(struct waiter *waiter, long (*wait)(void))
{
    *waiter = (struct waiter){.wait = wait};
    waiter->thread = start(run_waiter, waiter);
    while (!waiter->id)
        sched_yield();
}

/* Sends it a signal again and again, as it may not have begun to wait, until it's done. Returns its result. */
static long interrupt(struct waiter *waiter, int number)
{
    while (!waiter->done) {
        MUST(pthread_kill(waiter->thread, number) == 0);
        sleep_ms(2);
    }
    join(waiter->thread);
    return waiter->result;
}

static long sleeps_long(void)
{
    struct timespec hour = {3600, 0}, left = {0, 0};
    if (nanosleep(&hour, &left) != -1)
        return 1;
    return errno == EINTR && left.tv_sec >= 3500 && left.tv_sec <= 3600 ? 0 : 2;
}

static long sleeps_until(void)
{
    struct timespec then, left = {12, 34};
    clock_gettime(CLOCK_MONOTONIC, &then);
    then.tv_sec += 3600;
    int error = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &then, &left);
    return error == EINTR && left.tv_sec == 12 && left.tv_nsec == 34 ? 0 : 1;
}

static long pauses(void)
{
    return pause() == -1 && errno == EINTR ? 0 : 1;
}

static sem_t semaphore;

static long waits_for_semaphore(void)
{
    return sem_wait(&semaphore) == -1 && errno == EINTR ? 0 : 1;
}

static long suspends_long(void)
{
    sigset_t none = set_of(0);
    return sigsuspend(&none) == -1 && errno == EINTR ? 0 : 1;
}

static long takes_other(void)
{
    sigset_t set = set_of(SIGUSR2);
    /* The function of some C libraries tries again. */
    return syscall(SYS_rt_sigtimedwait, &set, NULL, NULL, 8) == -1 && errno == EINTR ? 0 : 1;
}

static int interrupts_waits(void)
{
    static long (*const waits[])(void) = {
        sleeps_long, sleeps_until, pauses, waits_for_semaphore, suspends_long, takes_other,
    };
    sigset_t usr2 = set_of(SIGUSR2), none = set_of(0);
    struct waiter waiter;
    CHECK(sem_init(&semaphore, 0, 0) == 0);
    CHECK(sigprocmask(SIG_BLOCK, &usr2, NULL) == 0); /* for sigwaitinfo */
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
        on(SIGUSR1, note, 0);
        start_waiter(&waiter, waits[i]);
        CHECK_IS(interrupt(&waiter, SIGUSR1), 0);
        CHECK(count > 0 && handled_by == waiter.id);
    }
    /* SA_RESTART is of no use to these. */
    for (size_t i = 0; i < 3; i++) {
        on(SIGUSR1, note, SA_RESTART);
        start_waiter(&waiter, waits[i]);
        CHECK_IS(interrupt(&waiter, SIGUSR1), 0);
    }
    CHECK(sigprocmask(SIG_SETMASK, &none, NULL) == 0);
    return 0;
}

/* Waits that go on after a handler ran. */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int ready;

static long waits_on(void)
{
    return sem_wait(&semaphore);
}

static long waits_for_condition(void)
{
    pthread_mutex_lock(&lock);
    while (!ready)
        if (pthread_cond_wait(&changed, &lock) != 0)
            return 1;
    return pthread_mutex_unlock(&lock);
}

static long waits_for_lock(void)
{
    return pthread_mutex_lock(&lock) || pthread_mutex_unlock(&lock);
}

/* Lets handlers run in the thread, one after the other. */
static void disturb(struct waiter *waiter)
{
    for (int i = 0; i < 10; i++) {
        int before = count;
        MUST(pthread_kill(waiter->thread, SIGUSR1) == 0);
        while (count == before)
            sleep_ms(1);
    }
}

static int goes_on_waiting(void)
{
    struct waiter waiter, second;
    CHECK(sem_init(&semaphore, 0, 0) == 0);
    on(SIGUSR1, note, SA_RESTART);
    start_waiter(&waiter, waits_on);
    disturb(&waiter);
    CHECK(!waiter.done && sem_post(&semaphore) == 0);
    join(waiter.thread);
    CHECK(waiter.result == 0);

    on(SIGUSR1, note, 0);
    start_waiter(&waiter, waits_for_condition);
    disturb(&waiter);
    CHECK(!waiter.done);
    pthread_mutex_lock(&lock);
    ready = 1;
    pthread_cond_signal(&changed);
    start_waiter(&second, waits_for_lock);
    disturb(&waiter);
    disturb(&second);
    CHECK(!waiter.done && !second.done);
    pthread_mutex_unlock(&lock);
    join(waiter.thread);
    join(second.thread);
    CHECK(waiter.result == 0 && second.result == 0);
    return 0;
}

static int pipe_ends[2];

static long reads(void)
{
    char byte = 0;
    ssize_t got = read(pipe_ends[0], &byte, 1);
    return got == 1 ? byte : -errno;
}

static int interrupts_reads(void)
{
    struct waiter waiter;
    CHECK(pipe(pipe_ends) == 0);
    on(SIGUSR1, note, 0);
    start_waiter(&waiter, reads);
    CHECK_IS(interrupt(&waiter, SIGUSR1), -EINTR);
    on(SIGUSR1, note, SA_RESTART);
    start_waiter(&waiter, reads);
    disturb(&waiter);
    CHECK(!waiter.done && write(pipe_ends[1], "x", 1) == 1);
    join(waiter.thread);
    CHECK_IS(waiter.result, 'x');
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    return 0;
}

/* Threads that make no system call. */

static long computes(void)
{
    volatile double sum = 0;
    long i = 1;
    do
        sum = sum + 1.0 / (double)i++;
    while (!atomic_load_explicit(&stop, memory_order_relaxed));
    return sum > 0 ? 0 : 1;
}

static int reaches_computing_threads(void)
{
    struct waiter waiter;
    for (int i = 0; i < 10; i++) {
        on(SIGUSR1, set_stop, 0);
        start_waiter(&waiter, computes);
        CHECK(pthread_kill(waiter.thread, SIGUSR1) == 0);
        join(waiter.thread);
        CHECK(waiter.result == 0 && count == 1 && handled_by == waiter.id);
    }
    return 0;
}

static atomic_int counts[4];
static atomic_int ids[4];
static _Thread_local int thread_number = -1;

static void count_by_thread(int number)
{
    (void)number;
    if (thread_number >= 0)
        counts[thread_number]++;
}

static void *computes_for_storm(void *arg)
{
    thread_number = (int)(intptr_t)arg;
    ids[thread_number] = 1;
    return (void *)computes();
}

static int survives_storms(void)
{
    enum { THREADS = 4, ROUNDS = 8 };
    pthread_t threads[THREADS];
    on(SIGUSR1, count_by_thread, 0);
    for (int i = 0; i < THREADS; i++) {
        counts[i] = ids[i] = 0;
        threads[i] = start(computes_for_storm, (void *)(intptr_t)i);
    }
    for (int i = 0; i < THREADS; i++)
        while (!ids[i])
            sleep_ms(1);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < THREADS; i++)
            CHECK(pthread_kill(threads[i], SIGUSR1) == 0);
        for (int i = 0; i < THREADS; i++)
            while (counts[i] <= round)
                sleep_ms(1);
    }
    stop = 1;
    for (int i = 0; i < THREADS; i++) {
        CHECK(join(threads[i]) == NULL);
        CHECK_IS(counts[i], ROUNDS);
    }
    return 0;
}

/* A signal to the process goes to a thread that doesn't block it. */
static int finds_a_thread(void)
{
    struct waiter waiter;
    sigset_t usr1 = set_of(SIGUSR1), none = set_of(0), pending;
    on(SIGUSR1, set_stop, 0);
    start_waiter(&waiter, computes);
    CHECK(pthread_sigmask(SIG_BLOCK, &usr1, NULL) == 0);
    CHECK(kill(getpid(), SIGUSR1) == 0);
    join(waiter.thread);
    CHECK(count == 1 && handled_by == waiter.id);
    /* With no such thread it waits until there is one. */
    on(SIGUSR1, note, 0);
    CHECK(kill(getpid(), SIGUSR1) == 0);
    CHECK(count == 0 && sigpending(&pending) == 0 && sigismember(&pending, SIGUSR1));
    CHECK(pthread_sigmask(SIG_SETMASK, &none, NULL) == 0);
    CHECK(count == 1 && handled_by == getpid());
    return 0;
}

static long waits_for_any(void)
{
    sigset_t set = set_of(SIGUSR1);
    siginfo_t info;
    int number = sigwaitinfo(&set, &info);
    /* Some C libraries change the one code to the other. */
    return number == SIGUSR1 && (info.si_code == SI_USER || info.si_code == SI_TKILL) ? 0 : 1;
}

/* One thread that takes the signals of the process, as in many servers. */
static int has_signal_threads(void)
{
    struct waiter waiter;
    sigset_t usr1 = set_of(SIGUSR1), none = set_of(0);
    on(SIGUSR1, note, 0);
    CHECK(pthread_sigmask(SIG_BLOCK, &usr1, NULL) == 0);
    start_waiter(&waiter, waits_for_any); /* with the mask of its creator */
    sleep_ms(5);
    CHECK(kill(getpid(), SIGUSR1) == 0);
    join(waiter.thread);
    CHECK_IS(waiter.result, 0);
    start_waiter(&waiter, waits_for_any);
    CHECK(pthread_kill(waiter.thread, SIGUSR1) == 0);
    join(waiter.thread);
    CHECK_IS(waiter.result, 0);
    CHECK(count == 0 && pthread_sigmask(SIG_SETMASK, &none, NULL) == 0);
    return 0;
}

static long looks_at_its_own(void)
{
    sigset_t pending;
    return is_blocked(SIGUSR1) && sigpending(&pending) == 0 && !sigismember(&pending, SIGUSR1) ? 0 : 1;
}

/* The mask is inherited, what waits for a thread is not. */
static int inherits_masks(void)
{
    struct waiter waiter;
    sigset_t usr1 = set_of(SIGUSR1), none = set_of(0);
    on(SIGUSR1, note, 0);
    CHECK(pthread_sigmask(SIG_BLOCK, &usr1, NULL) == 0);
    CHECK(pthread_kill(pthread_self(), SIGUSR1) == 0);
    start_waiter(&waiter, looks_at_its_own);
    join(waiter.thread);
    CHECK(waiter.result == 0 && count == 0);
    CHECK(pthread_sigmask(SIG_SETMASK, &none, NULL) == 0);
    CHECK_IS(count, 1);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct part parts[] = {
        {"suspends", suspends},
        {"takes pending signals", takes_pending_signals},
        {"interrupts waits", interrupts_waits},
        {"goes on waiting", goes_on_waiting},
        {"interrupts reads", interrupts_reads},
        {"reaches computing threads", reaches_computing_threads},
        {"survives storms", survives_storms},
        {"finds a thread", finds_a_thread},
        {"has signal threads", has_signal_threads},
        {"inherits masks", inherits_masks},
    };
    return RUN_PARTS(parts, argc, argv);
}
