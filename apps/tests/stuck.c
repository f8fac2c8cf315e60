// SPDX-License-Identifier: MIT OR Apache-2.0

// stuck KIND: says "in KIND" and then is in a system call of that kind, or in one after another, until somebody kills it. Run it in
// an empty folder. Without a kind: prints all kinds.

#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "check.h"

#define LEN (1 << 20)

static char buffer[LEN];
static int ends[2];
static int file;

/* Each of these returns what the call returned, if it ever returns. The first ones wait. */

static long do_read(void)
{
    return read(ends[0], buffer, 1);
}

static long do_write(void)
{
    return write(ends[1], buffer, LEN);
}

static long do_readv(void)
{
    struct iovec parts[2] = {{buffer, 1}, {buffer + 5000, LEN - 5000}};
    return readv(ends[0], parts, 2);
}

static long do_fifo(void)
{
    return mkfifo("fifo", 0600) == 0 ? open("fifo", O_RDONLY) : -1;
}

static long do_poll(void)
{
    struct pollfd wanted = {.fd = ends[0], .events = POLLIN};
    return poll(&wanted, 1, -1);
}

static long do_epoll(void)
{
    struct epoll_event event = {.events = EPOLLIN};
    int fd = epoll_create1(0);
    return epoll_ctl(fd, EPOLL_CTL_ADD, ends[0], &event) == 0 ? epoll_wait(fd, &event, 1, -1) : -1;
}

static long do_lock(void)
{
    int other = open("file", O_RDWR);
    return flock(file, LOCK_EX) == 0 ? flock(other, LOCK_EX) : -1;
}

static long do_accept(void)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "socket"};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (bind(fd, (struct sockaddr *)&name, sizeof name) != 0 || listen(fd, 1) != 0)
        return -1;
    return accept(fd, NULL, NULL);
}

static long do_recvmsg(void)
{
    struct iovec part = {buffer, LEN};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    return socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 ? recvmsg(ends[0], &message, 0) : -1;
}

static long do_eventfd(void)
{
    uint64_t value;
    return read(eventfd(0, 0), &value, sizeof value);
}

static long do_inotify(void)
{
    int fd = inotify_init1(0);
    return inotify_add_watch(fd, ".", IN_CREATE) >= 0 ? read(fd, buffer, LEN) : -1;
}

static long do_command(void)
{
    return system("exec sleep 20");
}

/* The others are made again and again. */

static long do_pwrite(void)
{
    return pwrite(file, buffer, 1, 5);
}

static long do_large(void)
{
    return pwrite(file, buffer, LEN, 0) == LEN && pread(file, buffer, LEN, 0) == LEN ? 0 : -1;
}

static long do_sendfile(void)
{
    off_t from = 0;
    int to = open("copy", O_CREAT | O_RDWR | O_TRUNC, 0600);
    long done = sendfile(to, file, &from, LEN);
    return close(to) == 0 ? done : -1;
}

static long do_stat(void)
{
    struct stat stat;
    return fstatat(AT_FDCWD, "file", &stat, 0);
}

static long do_open(void)
{
    return close(open("file", O_RDONLY));
}

static long do_names(void)
{
    return mkdir("folder", 0700) == 0 && rename("folder", "other") == 0 ? rmdir("other") : -1;
}

static long do_list(void)
{
    DIR *dir = opendir(".");
    while (dir && readdir(dir)) { }
    return dir ? closedir(dir) : -1;
}

static long do_map(void)
{
    char *at = mmap(NULL, LEN, PROT_READ, MAP_PRIVATE, file, 0);
    long sum = 0;
    for (int i = 0; at != MAP_FAILED && i < LEN; i += 4096)
        sum += at[i];
    return at != MAP_FAILED && sum == 0 ? munmap(at, LEN) : -1;
}

static long do_sync(void)
{
    static char *at;
    if (!at)
        at = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    for (int i = 0; at != MAP_FAILED && i < LEN; i += 4096)
        at[i]++;
    return at != MAP_FAILED ? msync(at, LEN, MS_SYNC) : -1;
}

static long do_fork(void)
{
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    return waitpid(child, NULL, 0);
}

static long do_spawn(void)
{
    pid_t child;
    char *arguments[] = {"true", NULL}, *environment[] = {NULL};
    return posix_spawnp(&child, "true", NULL, NULL, arguments, environment) == 0 ? waitpid(child, NULL, 0) : -1;
}

static long do_lines(void)
{
    return write(STDOUT_FILENO, "line\n", 5);
}

static const struct kind { const char *name; long (*call)(void); int waits; } kinds[] = {
    {"read", do_read, 1}, {"write", do_write, 1}, {"readv", do_readv, 1}, {"fifo", do_fifo, 1}, {"poll", do_poll, 1},
    {"epoll", do_epoll, 1}, {"lock", do_lock, 1}, {"accept", do_accept, 1}, {"recvmsg", do_recvmsg, 1},
    {"eventfd", do_eventfd, 1}, {"inotify", do_inotify, 1}, {"command", do_command, 1}, {"pwrite", do_pwrite, 0},
    {"large", do_large, 0}, {"sendfile", do_sendfile, 0}, {"stat", do_stat, 0}, {"open", do_open, 0}, {"names", do_names, 0},
    {"list", do_list, 0}, {"map", do_map, 0}, {"sync", do_sync, 0}, {"fork", do_fork, 0}, {"spawn", do_spawn, 0}, {"lines", do_lines, 0},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const struct kind *kind = &kinds[i];
        if (argc < 2) {
            puts(kind->name);
            continue;
        }
        if (strcmp(kind->name, argv[1]) != 0)
            continue;
        file = open("file", O_CREAT | O_RDWR | O_TRUNC, 0600);
        MUST(file >= 0 && ftruncate(file, LEN) == 0 && pipe(ends) == 0);
        printf("in %s\n", kind->name);
        fflush(stdout);
        long result;
        do
            result = kind->call();
        while (!kind->waits && result >= 0);
        printf("%s returned %ld, errno %d\n", kind->name, result, errno);
        return 1;
    }
    return argc < 2 ? 0 : 2;
}
