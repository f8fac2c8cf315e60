// SPDX-License-Identifier: MIT OR Apache-2.0

// Descriptors: many of them, copies, their limit, closing one that another thread waits at, and what /proc says of them.

#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "tempdir.h"

static int many(void)
{
    enum { COUNT = 10000 };
    static int fds[COUNT];
    struct rlimit before, more;
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    more = before;
    more.rlim_cur = more.rlim_max < 20000 ? more.rlim_max : 20000;
    CHECK(setrlimit(RLIMIT_NOFILE, &more) == 0);
    if (more.rlim_cur < COUNT + 100)
        return printf("(only %ld files) ", (long)more.rlim_cur) < 0;
    int base = open("/dev/null", O_RDONLY);
    CHECK(base >= 0 && close(base) == 0);
    for (int i = 0; i < COUNT; i++) {
        fds[i] = open("/dev/null", O_RDWR);
        CHECK_IS(fds[i], base + i);
    }
    CHECK(write(fds[COUNT - 1], "x", 1) == 1);
    for (int i = 0; i < COUNT; i += 2)
        CHECK(close(fds[i]) == 0);
    CHECK_IS(open("/dev/null", O_RDONLY), base);
    CHECK(close(base) == 0);
    for (int i = 1; i < COUNT; i += 2)
        CHECK(close(fds[i]) == 0);
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    return 0;
}

static int limit(void)
{
    struct rlimit before, less;
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    less = before;
    less.rlim_cur = 20;
    CHECK(setrlimit(RLIMIT_NOFILE, &less) == 0);
    int last = -1, fd;
    while ((fd = open("/dev/null", O_RDONLY)) >= 0)
        last = fd;
    CHECK(errno == EMFILE && last == 19);
    CHECK_ERRNO(dup(0), EMFILE);
    CHECK_ERRNO(dup2(0, 20), EBADF);
    CHECK_ERRNO(fcntl(0, F_DUPFD, 20), EINVAL);
    int pair[2];
    CHECK_ERRNO(pipe(pair), EMFILE);
    CHECK(close(19) == 0);
    CHECK_ERRNO(pipe(pair), EMFILE);
    CHECK(fcntl(19, F_GETFD) == -1 && open("/dev/null", O_RDONLY) == 19);
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    CHECK(close_range(3, 19, 0) == 0);
    less.rlim_cur = before.rlim_max, less.rlim_max = before.rlim_max - 1;
    CHECK_ERRNO(setrlimit(RLIMIT_NOFILE, &less), EINVAL);
    return 0;
}

static int copies(void)
{
    int fd = open("text", O_CREAT | O_RDWR, 0600), copy = dup(fd);
    CHECK(fd >= 0 && copy >= 0 && write(fd, "0123456789", 10) == 10);
    CHECK(lseek(copy, 3, SEEK_SET) == 3 && lseek(fd, 0, SEEK_CUR) == 3);
    CHECK_IS(dup2(fd, 100), 100);
    CHECK(close(fd) == 0 && close(copy) == 0);
    char buffer[20];
    CHECK(read(100, buffer, 20) == 7);
    CHECK_IS(dup3(100, 101, O_CLOEXEC), 101);
    CHECK(fcntl(101, F_GETFD) == FD_CLOEXEC && fcntl(100, F_GETFD) == 0);
    CHECK_ERRNO(dup3(100, 100, 0), EINVAL);
    CHECK_ERRNO(dup3(100, 101, O_APPEND), EINVAL);
    CHECK_IS(fcntl(100, F_DUPFD_CLOEXEC, 50), 50);
    CHECK(ioctl(50, FIONCLEX) == 0 && fcntl(50, F_GETFD) == 0 && ioctl(50, FIOCLEX) == 0 && fcntl(50, F_GETFD) == 1);
    CHECK_ERRNO(ioctl(50, TIOCGWINSZ, buffer), ENOTTY);
    CHECK_ERRNO(close(99), EBADF);
    CHECK(close_range(50, 200, CLOSE_RANGE_CLOEXEC) == 0 && fcntl(100, F_GETFD) == FD_CLOEXEC);
    CHECK(close_range(50, 200, 0) == 0 && fcntl(100, F_GETFD) == -1);
    CHECK_ERRNO(close_range(5, 4, 0), EINVAL);
    return unlink("text");
}

static int ends[2];

static void *read_one(void *arg)
{
    char c;
    return (void *)read(*(int *)arg, &c, 1);
}

static int closed_meanwhile(void)
{
    CHECK(pipe(ends) == 0);
    int copy = dup(ends[1]), number = ends[0];
    pthread_t thread = start(read_one, &number);
    sleep_ms(100);
    CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
    CHECK_IS(open("/dev/null", O_RDONLY), ends[0]);
    /* The reader still has the pipe. */
    CHECK(write(copy, "x", 1) == 1);
    CHECK_IS((long)join(thread), 1);
    /* And now nobody has. */
    CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    CHECK_ERRNO(write(copy, "x", 1), EPIPE);
    return close(copy) || close(ends[0]);
}

static int proc(void)
{
    char path[PATH_MAX], target[PATH_MAX];
    int fd = open("seen", O_CREAT | O_RDWR, 0600);
    CHECK(fd >= 0 && write(fd, "text", 4) == 4 && pipe(ends) == 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(path, target, sizeof target);
    CHECK(len > 5 && memcmp(target + len - 5, "/seen", 5) == 0);
    struct stat st, link, through;
    CHECK(fstat(fd, &st) == 0 && stat(path, &through) == 0 && st.st_ino == through.st_ino);
    CHECK(lstat(path, &link) == 0 && S_ISLNK(link.st_mode));
    /* Another opening, which begins at the start. */
    int again = open(path, O_RDONLY);
    CHECK(again >= 0 && read(again, target, 10) == 4 && close(again) == 0);
    CHECK(access(path, R_OK | W_OK) == 0);
    snprintf(path, sizeof path, "/proc/%d/fd/%d", getpid(), ends[0]);
    len = readlink(path, target, sizeof target);
    CHECK(len > 6 && memcmp(target, "pipe:[", 6) == 0);
    snprintf(path, sizeof path, "/dev/fd/%d", ends[1]);
    again = open(path, O_WRONLY);
    CHECK(again >= 0 && write(again, "y", 1) == 1 && read(ends[0], target, 2) == 1 && close(again) == 0);
    CHECK_ERRNO(open("/dev/fd/777", O_RDONLY), ENOENT);
    CHECK_ERRNO(readlink("/proc/self/fd/777", target, 10), ENOENT);
    CHECK_ERRNO(open("/proc/self/fd/x", O_RDONLY), ENOENT);
    /* Exactly those that are open, and that of the list itself. */
    DIR *dir = opendir("/proc/self/fd");
    CHECK(dir != NULL);
    struct dirent *entry;
    int count = 0, strange = 0;
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        count++;
        strange |= fcntl(atoi(entry->d_name), F_GETFD) == -1;
        CHECK(fstatat(dirfd(dir), entry->d_name, &st, 0) == 0);
        CHECK(readlinkat(dirfd(dir), entry->d_name, target, sizeof target) > 0);
    }
    int open_ones = 0;
    for (int i = 0; i < 1000; i++)
        open_ones += fcntl(i, F_GETFD) != -1;
    CHECK_IS(count, open_ones);
    CHECK(!strange && closedir(dir) == 0);
    CHECK((dir = opendir("/proc/self/task")) != NULL);
    count = 0;
    while ((entry = readdir(dir)) != NULL)
        count += entry->d_name[0] != '.';
    CHECK(closedir(dir) == 0 && count == 1);
    FILE *info = fopen("/proc/self/fdinfo/0", "r");
    CHECK(info != NULL && fgets(target, sizeof target, info) && memcmp(target, "pos:", 4) == 0 && fclose(info) == 0);
    CHECK(stat("/proc/self/fd", &st) == 0 && S_ISDIR(st.st_mode));
    len = readlink("/proc/self/exe", target, sizeof target);
    CHECK(len > 4 && memcmp(target + len - 4, "/fds", 4) == 0);
    CHECK(access("/proc/self/exe", R_OK) == 0 && access("/proc/self/maps", R_OK) == 0);
    CHECK_ERRNO(open("/proc/self/maps", O_RDONLY | O_DIRECTORY), ENOTDIR);
    return close(fd) || close(ends[0]) || close(ends[1]) || unlink("seen");
}

int main(int argc, char **argv)
{
    static const struct part parts[] = {
        {"many", many},
        {"limit", limit},
        {"copies", copies},
        {"closed meanwhile", closed_meanwhile},
        {"proc", proc},
    };
    /* What the shell has left open. */
    MUST(close_range(3, ~0U, 0) == 0);
    enter_temp_dir();
    return RUN_PARTS(parts, argc, argv);
}
