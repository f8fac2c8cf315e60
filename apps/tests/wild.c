// SPDX-License-Identifier: MIT OR Apache-2.0

// wild SEED SECONDS: makes random system calls with random arguments, by several threads, for as long. What they return
// doesn't matter, nor does it how the program ends (0: it was not by its calls); what matters is that the kernel survives.
// Run it in an empty folder. An even seed leaves out what takes the program its own memory and registers: it lives longer.

#define _GNU_SOURCE
#include <err.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define THREADS 4
#define BUFFER (1 << 20)
#define HIGHEST 470

static char *buffer;
static time_t end;
static bool is_careful;

// What would end the program at once, or for good.
static bool is_left_out(long number)
{
    switch (number) {
    case SYS_exit_group: case SYS_exit: case SYS_rt_sigreturn: case SYS_kill: case SYS_tkill: case SYS_tgkill:
    case SYS_rt_sigqueueinfo: case SYS_rt_tgsigqueueinfo: case SYS_pause: case SYS_vfork: case SYS_fork: case SYS_execve:
    case SYS_execveat: case SYS_reboot:
        return true;
    case SYS_munmap: case SYS_mremap: case SYS_mprotect: case SYS_mmap: case SYS_brk: case SYS_madvise: case SYS_arch_prctl:
    case SYS_rt_sigaction: case SYS_sigaltstack: case SYS_set_tid_address: case SYS_set_robust_list: case SYS_setitimer:
    case SYS_alarm: case SYS_timer_create: case SYS_timer_settime: case SYS_clone: case SYS_clone3:
        return is_careful;
    default:
        return false;
    }
}

static uint64_t next(uint64_t *state)
{
    // xorshift64*, Vigna 2016.
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dULL;
}

static uint64_t argument(uint64_t *state)
{
    uint64_t value = next(state);
    switch (value % 12) {
    case 0: return 0;
    case 1: return UINT64_MAX - (value >> 60);
    case 2: return value >> 61;
    case 3: return (value >> 32) % 64;
    case 4: return next(state);
    case 5: return 1ULL << (value >> 58);
    case 6: return 0xffff800000000000ULL + (value >> 20);
    case 7: return 0x00007ffffffff000ULL - (value >> 52);
    case 8: return (value >> 32) & ~0xfffULL;
    case 9: return (uint64_t)buffer + BUFFER - ((value >> 32) % 64);
    default: return (uint64_t)buffer + (value >> 32) % BUFFER;
    }
}

static void *live(void *seed)
{
    uint64_t state = (uint64_t)seed * 0x9e3779b97f4a7c15ULL + 1;
    while (time(NULL) < end) {
        long number = (long)(next(&state) % HIGHEST);
        if (is_left_out(number))
            continue;
        uint64_t a[6];
        for (int i = 0; i < 6; i++)
            a[i] = argument(&state);
        // Now and then, what the arguments point at looks like something.
        if (next(&state) % 8 == 0)
            for (int i = 0; i < 64; i++)
                ((volatile uint64_t *)buffer)[next(&state) % (BUFFER / 8)] = argument(&state);
        syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    }
    return NULL;
}

static void woken(int number)
{
    (void)number;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        errx(2, "usage: wild SEED SECONDS");
    unsigned long seed = strtoul(argv[1], NULL, 10);
    is_careful = seed % 2 == 0;
    end = time(NULL) + atol(argv[2]);
    buffer = mmap(NULL, BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (buffer == MAP_FAILED)
        err(1, "mmap");
    // Whoever waits is woken.
    struct sigaction action = {.sa_handler = woken};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval often = {{0, 10000}, {0, 10000}};
    setitimer(ITIMER_REAL, &often, NULL);
    pthread_t threads[THREADS];
    for (long i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, live, (void *)(seed * THREADS + (unsigned long)i)))
            errx(1, "pthread_create");
    // Threads may wait for ever, with all signals blocked.
    while (time(NULL) < end)
        usleep(10000);
    _exit(0);
}
