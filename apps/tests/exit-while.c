// SPDX-License-Identifier: MIT OR Apache-2.0

// exit-while HOW [pipe]: ends while threads compute, sleep, wait, allocate memory and make threads; with "pipe" one
// also reads from a pipe that stays empty. How: see below. The exit status is 3 where the program gives one.

#define _GNU_SOURCE
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "check.h"

enum { STATUS = 3 };

static const char *how;
static atomic_int running;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER, held = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static sem_t semaphore;
static int pipe_ends[2];

enum work { COMPUTE, COMPUTE_TOO, SLEEP, NAP, WAIT_FOR_CONDITION, WAIT_FOR_SEMAPHORE, WAIT_FOR_SIGNAL, WAIT_FOR_LOCK,
            ALLOCATE, MAP, MAKE_THREADS, READ };

static void *does_nothing(void *arg)
{
    return arg;
}

static void *works(void *arg)
{
    sigset_t usr1;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    running++;
    for (size_t round = 1;; round++) {
        char *memory, byte;
        int number;
        size_t size = round * 7919 % 1000003 + 1;
        switch ((enum work)(intptr_t)arg) {
        case COMPUTE:
        case COMPUTE_TOO:
            for (volatile long i = 0; i >= 0; i = i + 1)
                ;
            break;
        case SLEEP:
            sleep(1000);
            break;
        case NAP:
            sleep_ms(1);
            break;
        case WAIT_FOR_CONDITION:
            pthread_mutex_lock(&lock);
            pthread_cond_wait(&never, &lock);
            pthread_mutex_unlock(&lock);
            break;
        case WAIT_FOR_SEMAPHORE:
            sem_wait(&semaphore);
            break;
        case WAIT_FOR_SIGNAL:
            sigwait(&usr1, &number);
            break;
        case WAIT_FOR_LOCK:
            pthread_mutex_lock(&held);
            break;
        case ALLOCATE:
            memory = malloc(size);
            MUST(memory);
            memory[size - 1] = 1;
            free(memory);
            break;
        case MAP:
            memory = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            MUST(memory != MAP_FAILED);
            memory[5000] = 1;
            munmap(memory, 16384);
            break;
        case MAKE_THREADS:
            join(start(does_nothing, NULL));
            break;
        case READ:
            if (read(pipe_ends[0], &byte, 1) == 0)
                return NULL;
            break;
        }
    }
}

static void at_exit(void)
{
    static const char text[] = "at exit\n";
    if (write(1, text, sizeof text - 1) < 0)
        _exit(1);
}

static int is(const char *what)
{
    return strcmp(how, what) == 0;
}

static void *ends_it(void *arg)
{
    (void)arg;
    sleep_ms(5);
    if (is("thread-exit"))
        exit(STATUS);
    if (is("thread-_exit"))
        _exit(STATUS);
    if (is("segv"))
        *(volatile int *)0 = 1;
    if (is("abort"))
        abort();
    if (is("term"))
        raise(SIGTERM);
    if (is("kill"))
        kill(getpid(), SIGKILL);
    return NULL;
}

int main(int argc, char **argv)
{
    how = argc > 1 ? argv[1] : "return";
    intptr_t count = READ;
    if (argc > 2 && strcmp(argv[2], "pipe") == 0) {
        MUST(pipe(pipe_ends) == 0);
        count++;
    }
    sigset_t usr1;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    MUST(sigprocmask(SIG_BLOCK, &usr1, NULL) == 0);
    MUST(atexit(at_exit) == 0 && sem_init(&semaphore, 0, 0) == 0);
    pthread_mutex_lock(&held);
    if (!is("last-thread")) {
        for (intptr_t i = 0; i < count; i++)
            start(works, (void *)i);
        while (running < count)
            sleep_ms(1);
    }
    sleep_ms(10);
    puts("threads run");
    fflush(stdout);
    if (is("return"))
        return STATUS;
    if (is("exit"))
        exit(STATUS);
    if (is("_exit"))
        _exit(STATUS);
    /* The rest is done by a thread: the main one has gone, or waits. */
    pthread_t thread = start(ends_it, NULL);
    if (is("last-thread")) {
        MUST(pthread_detach(thread) == 0);
        pthread_exit(NULL); /* the status is 0 once the last one has returned */
    }
    if (is("thread-exit"))
        pthread_exit(NULL);
    join(thread);
    sleep(100);
    fputs("exit-while return, exit, _exit, thread-exit, thread-_exit, last-thread, segv, abort, term, kill\n", stderr);
    return 2;
}
