// SPDX-License-Identifier: MIT OR Apache-2.0

// A thread reads from a terminal while others compute: these aren't held up, and it gets what is typed.

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "check.h"

enum { COMPUTING = 3, LINES = 20 };

static atomic_ulong done[COMPUTING];
static atomic_bool stop;

static void *compute(void *argument)
{
    atomic_ulong *mine = argument;
    while (!atomic_load(&stop)) {
        volatile unsigned long sum = 0;
        for (unsigned long i = 0; i < 10000; i++)
            sum += i;
        MUST(sum == 49995000);
        atomic_fetch_add(mine, 1);
    }
    return NULL;
}

static char lines[LINES][16];
static atomic_int got;

static void *listen_to(void *argument)
{
    int terminal = *(int *)argument;
    for (int i = 0; i < LINES; i++) {
        ssize_t len = read(terminal, lines[i], sizeof lines[i] - 1);
        MUST(len > 0);
        atomic_fetch_add(&got, 1);
    }
    return NULL;
}

int main(void)
{
    int number, locked = 0, keyboard = open("/dev/ptmx", O_RDWR | O_NOCTTY);
    MUST(keyboard >= 0 && ioctl(keyboard, TIOCSPTLCK, &locked) == 0 && ioctl(keyboard, TIOCGPTN, &number) == 0);
    char path[32];
    snprintf(path, sizeof path, "/dev/pts/%d", number);
    int terminal = open(path, O_RDWR | O_NOCTTY);
    MUST(terminal >= 0 && isatty(terminal));
    struct termios settings;
    MUST(tcgetattr(terminal, &settings) == 0);
    settings.c_lflag &= ~(tcflag_t)ECHO;
    MUST(tcsetattr(terminal, TCSANOW, &settings) == 0);
    pthread_t reader, computing[COMPUTING];
    MUST(pthread_create(&reader, NULL, listen_to, &terminal) == 0);
    for (int i = 0; i < COMPUTING; i++)
        MUST(pthread_create(&computing[i], NULL, compute, &done[i]) == 0);
    for (int i = 0; i < LINES; i++) {
        /* All of them get on while the reader waits. */
        for (int j = 0; j < COMPUTING; j++)
            for (unsigned long before = atomic_load(&done[j]); atomic_load(&done[j]) < before + 2;)
                usleep(100);
        MUST(atomic_load(&got) == i);
        MUST(dprintf(keyboard, "line %d\n", i) > 0);
        while (atomic_load(&got) == i)
            usleep(100);
        char want[16];
        snprintf(want, sizeof want, "line %d\n", i);
        MUST(strcmp(lines[i], want) == 0);
    }
    atomic_store(&stop, true);
    MUST(pthread_join(reader, NULL) == 0);
    for (int i = 0; i < COMPUTING; i++)
        MUST(pthread_join(computing[i], NULL) == 0);
    puts("all lines were read, and all threads got on");
    return 0;
}
