// SPDX-License-Identifier: MIT OR Apache-2.0

// The first thing that a program says: "first NS", the time since its kernel began by CLOCK_BOOTTIME. To measure how long a machine
// takes until then. As a machine's init it switches the machine off afterwards.

#include <stdio.h>
#include <sys/reboot.h>
#include <time.h>
#include <unistd.h>

int main(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    printf("first %lld\n", now.tv_sec * 1000000000LL + now.tv_nsec);
    fflush(stdout);
    if (getpid() == 1)
        reboot(RB_POWER_OFF);
    return 0;
}
