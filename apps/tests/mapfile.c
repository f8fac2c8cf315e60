// SPDX-License-Identifier: MIT OR Apache-2.0

// Mappings of files, memory that processes share, and what fork(2) copies.

#define _GNU_SOURCE
#include "check.h"
#include "tempdir.h"

#include <fcntl.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { PAGE = 4096, PAGES = 700, LEN = PAGES * PAGE };

/* A file of so many pages, each of which begins with its number. */
static int numbered(void)
{
    int fd = open("numbered", O_RDWR | O_CREAT | O_TRUNC, 0600);
    MUST(fd >= 0 && ftruncate(fd, LEN) == 0);
    for (int page = 0; page < PAGES; page++)
        MUST(pwrite(fd, &page, sizeof page, (off_t)page * PAGE) == sizeof page);
    return fd;
}

static int *at(void *map, int page)
{
    return (int *)((char *)map + (size_t)page * PAGE);
}

static int in_file(int fd, int page)
{
    int value = -1;
    MUST(pread(fd, &value, sizeof value, (off_t)page * PAGE) == sizeof value);
    return value;
}

static int private_mapping(void)
{
    int fd = numbered();
    char *map = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    CHECK(map != MAP_FAILED);
    int *part = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 5 * PAGE);
    CHECK(part != MAP_FAILED && *part == 5);
    CHECK(close(fd) == 0);
    for (int page = PAGES - 1; page >= 0; page -= 3)
        CHECK_IS(*at(map, page), page);
    *at(map, 5) = 1000;
    CHECK(*part == 5 && *at(map, 5) == 1000 && *at(map, 4) == 4);
    /* What was written is forgotten, and is the file's again. */
    CHECK(madvise(map + 5 * PAGE, PAGE, MADV_DONTNEED) == 0 && *at(map, 5) == 5);
    /* A buffer that has not been touched yet, for the kernel to read and to write. */
    int copy = open("copy", O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(copy >= 0 && write(copy, at(map, 300), 50 * PAGE) == 50 * PAGE);
    CHECK(pread(copy, at(map, 400), 50 * PAGE, 0) == 50 * PAGE);
    for (int page = 0; page < 50; page++)
        CHECK(*at(map, 400 + page) == 300 + page);
    CHECK(mremap(map, LEN, LEN / 2, 0) == map && *at(map, 10) == 10);
    CHECK(munmap(map, LEN / 2) == 0 && munmap(part, PAGE) == 0 && close(copy) == 0);
    return 0;
}

static int shared_mapping(void)
{
    int fd = numbered();
    void *map = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    void *twin = mmap(NULL, LEN, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED && twin != MAP_FAILED);
    *at(map, 7) = 1007;
    *at(map, 650) = 1650;
    CHECK(*at(twin, 7) == 1007);
    CHECK(msync(map, LEN, MS_SYNC) == 0 && in_file(fd, 7) == 1007 && in_file(fd, 650) == 1650 && in_file(fd, 8) == 8);
    *at(map, 8) = 1008;
    CHECK(munmap(map, 20 * PAGE) == 0 && in_file(fd, 8) == 1008);
    CHECK(munmap(map, LEN) == 0 && munmap(twin, LEN) == 0 && close(fd) == 0);
    /* Written back at the end of a process as well. */
    fd = open("numbered", O_RDWR);
    pid_t child = fork();
    if (child == 0) {
        *at(mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), 9) = 1009;
        _exit(0);
    }
    CHECK(waitpid(child, NULL, 0) == child && in_file(fd, 9) == 1009);
    int reader = open("numbered", O_RDONLY), writer = open("numbered", O_WRONLY);
    CHECK_ERRNO(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, reader, 0), EACCES);
    CHECK_ERRNO(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, writer, 0), EACCES);
    map = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, reader, 0);
    CHECK(map != MAP_FAILED);
    CHECK_ERRNO(mprotect(map, PAGE, PROT_READ | PROT_WRITE), EACCES);
    CHECK_ERRNO(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, 99, 0), EBADF);
    CHECK(munmap(map, PAGE) == 0 && close(reader) == 0 && close(writer) == 0 && close(fd) == 0);
    return 0;
}

static sigjmp_buf escape;
static siginfo_t seen;

static void on_bus(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    seen = *info;
    siglongjmp(escape, 1);
}

static int touch(volatile int *address)
{
    if (sigsetjmp(escape, 1))
        return -1;
    return *address;
}

static int truncation(void)
{
    struct sigaction action = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO};
    CHECK(sigaction(SIGBUS, &action, NULL) == 0);
    int fd = numbered();
    void *map = mmap(NULL, LEN + PAGE, PROT_READ, MAP_SHARED, fd, 0);
    void *private = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    CHECK(map != MAP_FAILED && private != MAP_FAILED);
    CHECK_IS(touch(at(map, PAGES)), -1);
    CHECK(seen.si_code == BUS_ADRERR && seen.si_addr == at(map, PAGES));
    CHECK(touch(at(map, 600)) == 600 && touch(at(map, 3)) == 3 && touch(at(private, 600)) == 600);
    CHECK(ftruncate(fd, 4 * PAGE + 1) == 0);
    CHECK(touch(at(map, 600)) == -1 && touch(at(private, 600)) == -1 && touch(at(map, 5)) == -1);
    CHECK(touch(at(map, 3)) == 3 && touch(at(map, 4)) == 4);
    int pipes[2];
    CHECK(pipe(pipes) == 0);
    CHECK_ERRNO(write(pipes[1], at(map, 5), 10), EFAULT);
    CHECK(ftruncate(fd, LEN) == 0 && touch(at(map, 600)) == 0);
    CHECK(munmap(map, LEN + PAGE) == 0 && munmap(private, LEN) == 0 && close(fd) == 0);
    CHECK(signal(SIGBUS, SIG_DFL) != SIG_ERR);
    return 0;
}

static int sharing(void)
{
    enum { LARGE = 8 << 20 };
    int *shared = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int *own = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED && own != MAP_FAILED);
    for (size_t i = 0; i < LARGE / sizeof *own; i += 1024)
        own[i] = (int)i;
    sem_t *there = (sem_t *)shared, *back = there + 1;
    CHECK(sem_init(there, 1, 0) == 0 && sem_init(back, 1, 0) == 0);
    pid_t child = fork();
    if (child == 0) {
        for (int round = 0; round < 200; round++) {
            sem_wait(there);
            shared[LARGE / 8 + round * 1024] = round;
            own[round * 1024] = -1;
            sem_post(back);
        }
        /* All that the parent has written since is its own. */
        for (size_t i = 200 * 1024; i < LARGE / sizeof *own; i += 1024)
            MUST(own[i] == (int)i);
        _exit(7);
    }
    for (int round = 0; round < 200; round++) {
        own[LARGE / 8 + round * 1024] = -2;
        sem_post(there);
        sem_wait(back);
        CHECK(shared[LARGE / 8 + round * 1024] == round && own[round * 1024] == round * 1024);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7);
    CHECK(munmap(shared, LARGE) == 0 && munmap(own, LARGE) == 0);
    return 0;
}

/* Generations of processes that compute on the isle, each of which changes what it has inherited. */
static int generations(void)
{
    enum { DEPTH = 6, WIDTH = 3 };
    static int depth, data[100000];
    int pipes[2];
    CHECK(pipe(pipes) == 0);
    fflush(stdout);
    pid_t first = getpid();
again:
    for (int child = 0; depth < DEPTH && child < (depth < 2 ? WIDTH : 1); child++) {
        pid_t pid = fork();
        if (pid == 0) {
            depth++;
            for (int i = 0; i < 100000; i += 512)
                data[i] += depth;
            goto again;
        }
        int status;
        MUST(waitpid(pid, &status, 0) == pid && status == 0);
    }
    int sum = 0;
    for (int i = 0; i < 100000; i += 512)
        sum += data[i];
    if (getpid() != first) {
        MUST(write(pipes[1], &sum, sizeof sum) == sizeof sum);
        _exit(0);
    }
    CHECK(sum == 0 && close(pipes[1]) == 0);
    int count = 0, total = 0;
    while (read(pipes[0], &sum, sizeof sum) == sizeof sum)
        count++, total += sum / 196;
    printf("%d processes, %d ", count, total);
    return close(pipes[0]);
}

int main(int argc, char **argv)
{
    static const struct part parts[] = {
        {"private mapping", private_mapping}, {"shared mapping", shared_mapping}, {"truncation", truncation},
        {"sharing", sharing}, {"generations", generations},
    };
    enter_temp_dir();
    return RUN_PARTS(parts, argc, argv);
}
