// SPDX-License-Identifier: MIT OR Apache-2.0

// Stacks: most of 8 MiB can be used by recursion, in a thread what its attributes say, and a stack that overflows gives
// SIGSEGV, which a handler on a stack of its own survives.

#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "check.h"

#define MIB ((size_t)1 << 20)

/* Never set, which the compiler can't know. */
static volatile int enough;

/* Uses at least 1 KiB for each level. Returns the sum of the levels. */
__attribute__((noinline)) static long recurse(long depth)
{
    volatile long frame[128];
    frame[0] = depth;
    frame[127] = depth;
    if (depth == 0 || enough)
        return 0;
    long below = recurse(depth - 1);
    return below + (frame[0] + frame[127]) / 2;
}

static int deep(size_t size)
{
    /* A frame is a little larger than its array. */
    long levels = (long)(size / 1104);
    CHECK_IS(recurse(levels), levels * (levels + 1) / 2);
    return 0;
}

static int main_stack(void)
{
    return deep(7 * MIB) || deep(7 * MIB);
}

static void *in_thread(void *arg)
{
    return (void *)(intptr_t)deep((size_t)(uintptr_t)arg);
}

static int with_size(size_t size, size_t used)
{
    pthread_attr_t attributes;
    pthread_t thread;
    CHECK(pthread_attr_init(&attributes) == 0 && pthread_attr_setstacksize(&attributes, size) == 0);
    CHECK(pthread_create(&thread, &attributes, in_thread, (void *)used) == 0);
    CHECK(join(thread) == NULL);
    CHECK(pthread_attr_destroy(&attributes) == 0);
    return 0;
}

static int thread_stacks(void)
{
    return with_size(8 * MIB, 7 * MIB) || with_size(64 * 1024, 32 * 1024) || with_size(40 * MIB, 39 * MIB);
}

static int own_memory(void)
{
    size_t size = MIB;
    pthread_attr_t attributes;
    pthread_t thread;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    CHECK(memory != MAP_FAILED);
    CHECK(pthread_attr_init(&attributes) == 0 && pthread_attr_setstack(&attributes, memory, size) == 0);
    CHECK(pthread_create(&thread, &attributes, in_thread, (void *)(size / 2)) == 0);
    CHECK(join(thread) == NULL);
    CHECK(munmap(memory, size) == 0);
    return 0;
}

static __thread sigjmp_buf back;
static __thread volatile uintptr_t fault_at;
static __thread volatile int code, on_own_stack;
static __thread char *own_stack;

enum { OWN_STACK = 64 * 1024 };

static void survive(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    char here;
    fault_at = (uintptr_t)info->si_addr;
    code = info->si_code;
    on_own_stack = &here >= own_stack && &here < own_stack + OWN_STACK;
    siglongjmp(back, 1);
}

/* Again and again, since the first time leaves all of the stack mapped. */
static int overflows(void)
{
    char here;
    own_stack = malloc(OWN_STACK);
    stack_t stack = {.ss_sp = own_stack, .ss_size = OWN_STACK};
    struct sigaction action = {.sa_sigaction = survive, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    CHECK(own_stack && sigaltstack(&stack, NULL) == 0 && sigaction(SIGSEGV, &action, NULL) == 0);
    for (volatile int i = 0; i < 5; i++) {
        if (sigsetjmp(back, 1) == 0) {
            recurse(1L << 40);
            return 1;
        }
        CHECK(on_own_stack && (code == SEGV_MAPERR || code == SEGV_ACCERR));
        uintptr_t used = (uintptr_t)&here - fault_at;
        CHECK(used > 7 * MIB && used < 10 * MIB);
    }
    stack.ss_flags = SS_DISABLE;
    CHECK(sigaltstack(&stack, NULL) == 0 && signal(SIGSEGV, SIG_DFL) != SIG_ERR);
    free(own_stack);
    return deep(7 * MIB);
}

static void *overflows_in_thread(void *arg)
{
    (void)arg;
    return (void *)(intptr_t)overflows();
}

static int thread_overflows(void)
{
    pthread_attr_t attributes;
    pthread_t thread;
    CHECK(pthread_attr_init(&attributes) == 0 && pthread_attr_setstacksize(&attributes, 8 * MIB) == 0);
    for (int i = 0; i < 3; i++) {
        CHECK(pthread_create(&thread, &attributes, overflows_in_thread, NULL) == 0);
        CHECK(join(thread) == NULL);
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct part parts[] = {
        {"main stack", main_stack},
        {"thread stacks", thread_stacks},
        {"own memory", own_memory},
        {"overflows", overflows},
        {"thread overflows", thread_overflows},
    };
    /* Whatever the shell had. */
    struct rlimit limit;
    if (getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur != 8 * MIB) {
        limit.rlim_cur = 8 * MIB;
        setrlimit(RLIMIT_STACK, &limit);
    }
    return RUN_PARTS(parts, argc, argv);
}
