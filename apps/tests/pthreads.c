// SPDX-License-Identifier: MIT OR Apache-2.0

// What POSIX threads offer: mutexes of all kinds, robust ones among them, conditions, read-write locks, barriers,
// semaphores, once, cancellation, joining and attributes; each also with its timeouts and errors.

#define _GNU_SOURCE
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "check.h"

static struct timespec in_ms(clockid_t clock, uint64_t ms)
{
    return timespec_of(now(clock) + ms * MS);
}

static void init_mutex(pthread_mutex_t *mutex, int type, int robust)
{
    pthread_mutexattr_t attributes;
    MUST(pthread_mutexattr_init(&attributes) == 0 && pthread_mutexattr_settype(&attributes, type) == 0);
    MUST(pthread_mutexattr_setrobust(&attributes, robust) == 0);
    MUST(pthread_mutex_init(mutex, &attributes) == 0 && pthread_mutexattr_destroy(&attributes) == 0);
}

/* Runs a function in a thread and returns what it returns. */
static int in_thread(void *(*run)(void *), void *arg)
{
    return (int)(intptr_t)join(start(run, arg));
}

static void *tries_lock(void *mutex)
{
    int error = pthread_mutex_trylock(mutex);
    if (error == 0)
        pthread_mutex_unlock(mutex);
    return (void *)(intptr_t)error;
}

static void *unlocks(void *mutex)
{
    return (void *)(intptr_t)pthread_mutex_unlock(mutex);
}

static void *locks_until(void *mutex)
{
    struct timespec until = in_ms(CLOCK_REALTIME, 20);
    int error = pthread_mutex_timedlock(mutex, &until);
    MUST(error != ETIMEDOUT || now(CLOCK_REALTIME) >= (uint64_t)until.tv_sec * 1000000000 + (uint64_t)until.tv_nsec);
    return (void *)(intptr_t)error;
}

static int mutexes(void)
{
    pthread_mutex_t mutex;
    init_mutex(&mutex, PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_STALLED);
    CHECK_IS(pthread_mutex_lock(&mutex), 0);
    CHECK_IS(pthread_mutex_trylock(&mutex), EBUSY);
    CHECK_IS(in_thread(tries_lock, &mutex), EBUSY);
    CHECK_IS(in_thread(locks_until, &mutex), ETIMEDOUT);
    CHECK_IS(pthread_mutex_unlock(&mutex), 0);
    CHECK_IS(in_thread(tries_lock, &mutex), 0);
    CHECK_IS(pthread_mutex_destroy(&mutex), 0);
    init_mutex(&mutex, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_STALLED);
    CHECK_IS(pthread_mutex_lock(&mutex), 0);
    CHECK_IS(pthread_mutex_lock(&mutex), EDEADLK);
    CHECK_IS(in_thread(unlocks, &mutex), EPERM);
    CHECK_IS(pthread_mutex_unlock(&mutex), 0);
    CHECK_IS(pthread_mutex_unlock(&mutex), EPERM);
    init_mutex(&mutex, PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_STALLED);
    for (int i = 0; i < 3; i++)
        CHECK_IS(pthread_mutex_lock(&mutex), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_IS(in_thread(tries_lock, &mutex), EBUSY);
        CHECK_IS(pthread_mutex_unlock(&mutex), 0);
    }
    CHECK_IS(in_thread(tries_lock, &mutex), 0);
    return 0;
}

enum { THREADS = 6 };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_spinlock_t spinlock;
static long count;

static void *counts(void *arg)
{
    for (int i = 0; i < 4000; i++) {
        MUST((arg ? pthread_spin_lock(&spinlock) : pthread_mutex_lock(&lock)) == 0);
        long before = count;
        for (volatile int j = 0; j < 10; j = j + 1)
            ;
        count = before + 1;
        MUST((arg ? pthread_spin_unlock(&spinlock) : pthread_mutex_unlock(&lock)) == 0);
    }
    return NULL;
}

static int exclusion(void)
{
    pthread_t threads[THREADS];
    CHECK_IS(pthread_spin_init(&spinlock, PTHREAD_PROCESS_PRIVATE), 0);
    for (intptr_t spin = 0; spin < 2; spin++) {
        count = 0;
        for (int i = 0; i < THREADS; i++)
            threads[i] = start(counts, (void *)spin);
        for (int i = 0; i < THREADS; i++)
            join(threads[i]);
        CHECK_IS(count, THREADS * 4000);
    }
    return 0;
}

/* Threads that end while they hold one. */

static void *dies_with(void *mutex)
{
    MUST(pthread_mutex_lock(mutex) == 0);
    return NULL;
}

static atomic_int holds;

static void *dies_later_with(void *mutex)
{
    MUST(pthread_mutex_lock(mutex) == 0);
    holds = 1;
    sleep_ms(20);
    pthread_exit(NULL);
}

static int robust_mutexes(void)
{
    pthread_mutex_t mutex, others[3];
    init_mutex(&mutex, PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ROBUST);
    join(start(dies_with, &mutex));
    CHECK_IS(pthread_mutex_lock(&mutex), EOWNERDEAD);
    CHECK_IS(pthread_mutex_consistent(&mutex), 0);
    CHECK_IS(pthread_mutex_unlock(&mutex), 0);
    CHECK_IS(in_thread(tries_lock, &mutex), 0);
    /* One who waits is woken. */
    for (int i = 0; i < 5; i++) {
        holds = 0;
        pthread_t thread = start(dies_later_with, &mutex);
        while (!holds)
            sched_yield();
        CHECK_IS(pthread_mutex_lock(&mutex), EOWNERDEAD);
        CHECK_IS(pthread_mutex_consistent(&mutex), 0);
        CHECK_IS(pthread_mutex_unlock(&mutex), 0);
        join(thread);
    }
    /* Without having been made consistent it's good for nothing. */
    join(start(dies_with, &mutex));
    CHECK_IS(pthread_mutex_trylock(&mutex), EOWNERDEAD);
    CHECK_IS(pthread_mutex_unlock(&mutex), 0);
    CHECK_IS(pthread_mutex_lock(&mutex), ENOTRECOVERABLE);
    /* Several, by one. */
    for (int i = 0; i < 3; i++) {
        init_mutex(&others[i], PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_ROBUST);
        join(start(dies_with, &others[i]));
    }
    for (int i = 0; i < 3; i++) {
        CHECK_IS(pthread_mutex_lock(&others[i]), EOWNERDEAD);
        CHECK_IS(pthread_mutex_consistent(&others[i]), 0);
    }
    for (int i = 0; i < 3; i++) {
        CHECK_IS(pthread_mutex_unlock(&others[i]), 0);
        CHECK_IS(pthread_mutex_lock(&others[i]), 0);
        CHECK_IS(pthread_mutex_unlock(&others[i]), 0);
    }
    return 0;
}

/* Conditions. */

static int waiting, released;

static void *waits_for_release(void *arg)
{
    MUST(pthread_mutex_lock(&lock) == 0);
    waiting++;
    while (released == 0)
        MUST(pthread_cond_wait(&changed, &lock) == 0);
    released--;
    waiting--;
    MUST(pthread_mutex_unlock(&lock) == 0);
    return arg;
}

static int are_waiting(int wanted)
{
    MUST(pthread_mutex_lock(&lock) == 0);
    int is = waiting == wanted;
    MUST(pthread_mutex_unlock(&lock) == 0);
    return is;
}

static int conditions(void)
{
    pthread_t threads[THREADS];
    waiting = released = 0;
    for (int i = 0; i < THREADS; i++)
        threads[i] = start(waits_for_release, NULL);
    while (!are_waiting(THREADS))
        sleep_ms(1);
    for (int left = THREADS - 1; left >= 3; left--) {
        MUST(pthread_mutex_lock(&lock) == 0);
        released = 1;
        CHECK_IS(pthread_cond_signal(&changed), 0);
        MUST(pthread_mutex_unlock(&lock) == 0);
        while (!are_waiting(left))
            sleep_ms(1);
        CHECK_IS(released, 0);
    }
    MUST(pthread_mutex_lock(&lock) == 0);
    released = 3;
    CHECK_IS(pthread_cond_broadcast(&changed), 0);
    MUST(pthread_mutex_unlock(&lock) == 0);
    for (int i = 0; i < THREADS; i++)
        join(threads[i]);
    /* Timeouts, on both clocks. */
    static const clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC};
    for (int i = 0; i < 2; i++) {
        pthread_condattr_t attributes;
        pthread_cond_t condition;
        CHECK(pthread_condattr_init(&attributes) == 0 && pthread_condattr_setclock(&attributes, clocks[i]) == 0);
        CHECK(pthread_cond_init(&condition, &attributes) == 0);
        MUST(pthread_mutex_lock(&lock) == 0);
        struct timespec until = in_ms(clocks[i], 20), past = {1, 0}, bad = {1, 1000000000};
        int error;
        while ((error = pthread_cond_timedwait(&condition, &lock, &until)) == 0)
            ;
        CHECK_IS(error, ETIMEDOUT);
        CHECK(now(clocks[i]) >= (uint64_t)until.tv_sec * 1000000000 + (uint64_t)until.tv_nsec);
        CHECK_IS(pthread_cond_timedwait(&condition, &lock, &past), ETIMEDOUT);
        CHECK_IS(pthread_cond_timedwait(&condition, &lock, &bad), EINVAL);
        /* The lock is held again. */
        CHECK_IS(in_thread(tries_lock, &lock), EBUSY);
        MUST(pthread_mutex_unlock(&lock) == 0);
        CHECK(pthread_cond_destroy(&condition) == 0 && pthread_condattr_destroy(&attributes) == 0);
    }
    return 0;
}

/* A ball that two throw to each other. */
static int side;

static void *plays(void *arg)
{
    int mine = (int)(intptr_t)arg;
    for (int i = 0; i < 2000; i++) {
        MUST(pthread_mutex_lock(&lock) == 0);
        while (side != mine)
            MUST(pthread_cond_wait(&changed, &lock) == 0);
        side = !mine;
        MUST(pthread_cond_signal(&changed) == 0);
        MUST(pthread_mutex_unlock(&lock) == 0);
    }
    return NULL;
}

static int ping_pong(void)
{
    pthread_t first = start(plays, (void *)0), second = start(plays, (void *)1);
    join(first);
    join(second);
    return 0;
}

/* Read-write locks. */

static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static long pair[2];

static void *reads(void *arg)
{
    for (int i = 0; i < 2000; i++) {
        MUST(pthread_rwlock_rdlock(&rwlock) == 0);
        MUST(pair[0] == pair[1]);
        MUST(pthread_rwlock_unlock(&rwlock) == 0);
    }
    return arg;
}

static void *writes(void *arg)
{
    for (int i = 0; i < 500; i++) {
        MUST(pthread_rwlock_wrlock(&rwlock) == 0);
        pair[0]++;
        if (i % 50 == 0)
            sched_yield();
        pair[1]++;
        MUST(pthread_rwlock_unlock(&rwlock) == 0);
    }
    return arg;
}

static void *tries_to_read(void *arg)
{
    int error = pthread_rwlock_tryrdlock(&rwlock);
    if (error == 0)
        pthread_rwlock_unlock(&rwlock);
    (void)arg;
    return (void *)(intptr_t)error;
}

static void *tries_to_write(void *arg)
{
    int error = pthread_rwlock_trywrlock(&rwlock);
    if (error == 0)
        pthread_rwlock_unlock(&rwlock);
    (void)arg;
    return (void *)(intptr_t)error;
}

static void *writes_until(void *arg)
{
    (void)arg;
    struct timespec until = in_ms(CLOCK_REALTIME, 20);
    return (void *)(intptr_t)pthread_rwlock_timedwrlock(&rwlock, &until);
}

static int read_write_locks(void)
{
    pthread_t threads[THREADS];
    CHECK_IS(pthread_rwlock_rdlock(&rwlock), 0);
    CHECK_IS(in_thread(tries_to_read, NULL), 0);
    CHECK_IS(in_thread(tries_to_write, NULL), EBUSY);
    CHECK_IS(in_thread(writes_until, NULL), ETIMEDOUT);
    CHECK_IS(pthread_rwlock_unlock(&rwlock), 0);
    CHECK_IS(pthread_rwlock_wrlock(&rwlock), 0);
    CHECK_IS(in_thread(tries_to_read, NULL), EBUSY);
    CHECK_IS(in_thread(tries_to_write, NULL), EBUSY);
    CHECK_IS(pthread_rwlock_unlock(&rwlock), 0);
    for (int i = 0; i < THREADS; i++)
        threads[i] = start(i < 2 ? writes : reads, NULL);
    for (int i = 0; i < THREADS; i++)
        join(threads[i]);
    CHECK(pair[0] == 1000 && pair[1] == 1000);
    return 0;
}

static pthread_barrier_t barrier;
static atomic_int arrived, serials;

static void *meets(void *arg)
{
    for (int round = 1; round <= 200; round++) {
        arrived++;
        int result = pthread_barrier_wait(&barrier);
        MUST(result == 0 || result == PTHREAD_BARRIER_SERIAL_THREAD);
        serials += result == PTHREAD_BARRIER_SERIAL_THREAD;
        MUST(arrived >= round * THREADS);
        pthread_barrier_wait(&barrier);
    }
    return arg;
}

static int barriers(void)
{
    pthread_t threads[THREADS];
    CHECK_IS(pthread_barrier_init(&barrier, NULL, 0), EINVAL);
    CHECK_IS(pthread_barrier_init(&barrier, NULL, THREADS), 0);
    for (int i = 0; i < THREADS; i++)
        threads[i] = start(meets, NULL);
    for (int i = 0; i < THREADS; i++)
        join(threads[i]);
    CHECK(serials == 200 && arrived == 200 * THREADS);
    return pthread_barrier_destroy(&barrier);
}

static sem_t items, places;
static long consumed;

static void *produces(void *arg)
{
    for (int i = 0; i < 3000; i++) {
        MUST(sem_wait(&places) == 0);
        MUST(sem_post(&items) == 0);
    }
    return arg;
}

static void *consumes(void *arg)
{
    for (int i = 0; i < 3000; i++) {
        MUST(sem_wait(&items) == 0);
        consumed++;
        MUST(sem_post(&places) == 0);
    }
    return arg;
}

static int semaphores(void)
{
    sem_t semaphore;
    int value;
    struct timespec until = in_ms(CLOCK_REALTIME, 20), bad = {1, 1000000000};
    CHECK(sem_init(&semaphore, 0, 2) == 0 && sem_wait(&semaphore) == 0 && sem_trywait(&semaphore) == 0);
    CHECK_ERRNO(sem_trywait(&semaphore), EAGAIN);
    CHECK_ERRNO(sem_timedwait(&semaphore, &until), ETIMEDOUT);
    CHECK(now(CLOCK_REALTIME) >= (uint64_t)until.tv_sec * 1000000000 + (uint64_t)until.tv_nsec);
    CHECK_ERRNO(sem_timedwait(&semaphore, &bad), EINVAL);
    CHECK(sem_post(&semaphore) == 0 && sem_getvalue(&semaphore, &value) == 0 && value == 1);
    CHECK(sem_destroy(&semaphore) == 0);
    CHECK(sem_init(&items, 0, 0) == 0 && sem_init(&places, 0, 10) == 0);
    pthread_t producer = start(produces, NULL), consumer = start(consumes, NULL);
    join(producer);
    join(consumer);
    CHECK(consumed == 3000 && sem_getvalue(&places, &value) == 0 && value == 10);
    return 0;
}

static pthread_once_t once_control = PTHREAD_ONCE_INIT;
static atomic_int initialized;

static void initialize(void)
{
    sleep_ms(5);
    initialized++;
}

static void *wants_it_initialized(void *arg)
{
    MUST(pthread_once(&once_control, initialize) == 0);
    MUST(initialized == 1);
    return arg;
}

static int once(void)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        threads[i] = start(wants_it_initialized, NULL);
    for (int i = 0; i < THREADS; i++)
        join(threads[i]);
    CHECK_IS(initialized, 1);
    return 0;
}

/* Cancellation. */

static sem_t never_posted;
static pthread_cond_t never_signalled = PTHREAD_COND_INITIALIZER;
static int cleaned[3], cleaned_count;
static pthread_key_t key;
static atomic_int keys_destroyed, begun;

static void clean(void *arg)
{
    cleaned[cleaned_count++] = (int)(intptr_t)arg;
}

static void unlock(void *mutex)
{
    /* Cancelled or not, a wait returns with the lock held. */
    MUST(pthread_mutex_trylock(mutex) == EBUSY);
    MUST(pthread_mutex_unlock(mutex) == 0);
}

static void destroy_key(void *value)
{
    (void)value;
    keys_destroyed++;
}

static void *sleeps(void *arg)
{
    pthread_setspecific(key, &key);
    pthread_cleanup_push(clean, (void *)1);
    pthread_cleanup_push(clean, (void *)2);
    pthread_cleanup_push(clean, (void *)3);
    begun = 1;
    sleep(1000);
    pthread_cleanup_pop(0);
    pthread_cleanup_pop(0);
    pthread_cleanup_pop(0);
    return arg;
}

static void *waits_for_condition(void *arg)
{
    pthread_mutex_lock(&lock);
    pthread_cleanup_push(unlock, &lock);
    begun = 1;
    for (;;)
        pthread_cond_wait(&never_signalled, &lock);
    pthread_cleanup_pop(0);
    return arg;
}

static void *waits_for_semaphore(void *arg)
{
    begun = 1;
    sem_wait(&never_posted);
    return arg;
}

static void *joins(void *arg)
{
    begun = 1;
    pthread_join(*(pthread_t *)arg, NULL);
    return NULL;
}

static void *asks(void *arg)
{
    begun = 1;
    for (;;)
        pthread_testcancel();
    return arg;
}

static void *refuses_for_a_while(void *arg)
{
    int old;
    MUST(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old) == 0 && old == PTHREAD_CANCEL_ENABLE);
    begun = 1;
    sleep_ms(30);
    pthread_testcancel();
    *(int *)arg = 1;
    MUST(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old) == 0);
    pthread_testcancel();
    *(int *)arg = 2;
    return NULL;
}

static void *computes(void *arg)
{
    int old;
    MUST(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old) == 0 && old == PTHREAD_CANCEL_DEFERRED);
    begun = 1;
    for (volatile long i = 0; i >= 0; i = i + 1)
        ;
    return arg;
}

static int cancels(void *(*run)(void *), void *arg, unsigned ms)
{
    begun = 0;
    pthread_t thread = start(run, arg);
    while (!begun)
        sched_yield();
    sleep_ms(ms); /* so that it waits, most likely */
    CHECK_IS(pthread_cancel(thread), 0);
    CHECK(join(thread) == PTHREAD_CANCELED);
    return 0;
}

static int cancellation(void)
{
    CHECK(sem_init(&never_posted, 0, 0) == 0 && pthread_key_create(&key, destroy_key) == 0);
    for (unsigned ms = 0; ms <= 5; ms += 5) {
        cleaned_count = keys_destroyed = 0;
        if (cancels(sleeps, NULL, ms))
            return 1;
        CHECK(cleaned_count == 3 && cleaned[0] == 3 && cleaned[1] == 2 && cleaned[2] == 1 && keys_destroyed == 1);
        if (cancels(waits_for_condition, NULL, ms))
            return 1;
        CHECK_IS(pthread_mutex_trylock(&lock), 0);
        CHECK_IS(pthread_mutex_unlock(&lock), 0);
        if (cancels(waits_for_semaphore, NULL, ms) || cancels(asks, NULL, ms) || cancels(computes, NULL, ms))
            return 1;
        int reached = 0;
        if (cancels(refuses_for_a_while, &reached, ms))
            return 1;
        CHECK_IS(reached, 1);
        /* One that waits for another's end; the other isn't concerned. */
        begun = 0;
        pthread_t other = start(waits_for_semaphore, NULL);
        while (!begun)
            sched_yield();
        if (cancels(joins, &other, ms))
            return 1;
        CHECK_IS(pthread_cancel(other), 0);
        CHECK(join(other) == PTHREAD_CANCELED);
    }
    return 0;
}

static int pipe_ends[2];

static void *reads_pipe(void *arg)
{
    char byte;
    begun = 1;
    if (read(pipe_ends[0], &byte, 1) == 1)
        return NULL;
    return arg;
}

static int cancels_reads(void)
{
    CHECK(pipe(pipe_ends) == 0);
    if (cancels(reads_pipe, NULL, 0) || cancels(reads_pipe, NULL, 5))
        return 1;
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    return 0;
}

static void *returns(void *arg)
{
    return arg;
}

static void *exits(void *arg)
{
    pthread_exit(arg);
}

static void *knows_itself(void *arg)
{
    *(pthread_t *)arg = pthread_self();
    return NULL;
}

static int joining(void)
{
    int local;
    void *result;
    CHECK(join(start(returns, &local)) == &local && join(start(exits, &local)) == &local);
#ifdef __GLIBC__ /* others wait for ever */
    CHECK_IS(pthread_join(pthread_self(), NULL), EDEADLK);
#endif
    CHECK(pthread_equal(pthread_self(), pthread_self()));
    pthread_t itself, thread = start(knows_itself, &itself);
    join(thread);
    CHECK(pthread_equal(thread, itself) && !pthread_equal(itself, pthread_self()));
    /* One that runs. */
    begun = 0;
    thread = start(waits_for_semaphore, NULL);
    struct timespec until = in_ms(CLOCK_REALTIME, 20);
    CHECK_IS(pthread_tryjoin_np(thread, &result), EBUSY);
    CHECK_IS(pthread_timedjoin_np(thread, &result, &until), ETIMEDOUT);
    CHECK_IS(pthread_kill(thread, 0), 0);
    CHECK_IS(pthread_cancel(thread), 0);
    until = in_ms(CLOCK_REALTIME, 60000);
    CHECK_IS(pthread_timedjoin_np(thread, &result, &until), 0);
    CHECK(result == PTHREAD_CANCELED);
    return 0;
}

static void *looks_at_its_stack(void *arg)
{
    pthread_attr_t attributes;
    void *stack;
    size_t size;
    char here;
    MUST(pthread_getattr_np(pthread_self(), &attributes) == 0);
    MUST(pthread_attr_getstack(&attributes, &stack, &size) == 0);
    MUST(&here > (char *)stack && &here < (char *)stack + size && size >= (size_t)(uintptr_t)arg);
    MUST(pthread_attr_destroy(&attributes) == 0);
    return NULL;
}

static int attributes(void)
{
    pthread_attr_t attributes_;
    pthread_t thread;
    cpu_set_t set, other;
    size_t size = 300 * 1024;
    CHECK(pthread_attr_init(&attributes_) == 0 && pthread_attr_setstacksize(&attributes_, size) == 0);
    CHECK(pthread_attr_setguardsize(&attributes_, 65536) == 0);
    CHECK(pthread_create(&thread, &attributes_, looks_at_its_stack, (void *)size) == 0);
    join(thread);
    CHECK_IS(pthread_attr_setstacksize(&attributes_, 1), EINVAL);
    CHECK(pthread_attr_destroy(&attributes_) == 0);
    join(start(looks_at_its_stack, (void *)1));
    /* The thread may be told where to run, if only where it could run anyway. */
    CHECK(pthread_getaffinity_np(pthread_self(), sizeof set, &set) == 0 && CPU_COUNT(&set) > 0);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &set))
        cpu++;
    CPU_ZERO(&other);
    CPU_SET(cpu, &other);
    CHECK(pthread_setaffinity_np(pthread_self(), sizeof other, &other) == 0);
    CHECK(sched_getcpu() == cpu);
    CHECK(pthread_getaffinity_np(pthread_self(), sizeof other, &other) == 0);
    CHECK(CPU_COUNT(&other) == 1 && CPU_ISSET(cpu, &other));
    CHECK(pthread_setaffinity_np(pthread_self(), sizeof set, &set) == 0);
    char name[16];
    CHECK(pthread_setname_np(pthread_self(), "a name") == 0);
    CHECK(pthread_getname_np(pthread_self(), name, sizeof name) == 0 && strcmp(name, "a name") == 0);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct part parts[] = {
        {"mutexes", mutexes},
        {"exclusion", exclusion},
        {"robust mutexes", robust_mutexes},
        {"conditions", conditions},
        {"ping-pong", ping_pong},
        {"read-write locks", read_write_locks},
        {"barriers", barriers},
        {"semaphores", semaphores},
        {"once", once},
        {"cancellation", cancellation},
        {"cancels reads", cancels_reads},
        {"joining", joining},
        {"attributes", attributes},
    };
    return RUN_PARTS(parts, argc, argv);
}
