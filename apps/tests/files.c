// SPDX-License-Identifier: MIT OR Apache-2.0

// Calls that name files or work on them, and their errors.

#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <utime.h>

#include "tempdir.h"

static int make(const char *path, const char *text)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (fd >= 0 && write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        return -1;
    return fd;
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 ? st.st_mode : 0;
}

static int working_directory(void)
{
    char path[PATH_MAX], expected[PATH_MAX];
    CHECK(mkdir("cwd", 0755) == 0 && chdir("cwd") == 0);
    snprintf(expected, sizeof expected, "%s/cwd", temp_dir);
    CHECK(getcwd(path, sizeof path) != NULL && strcmp(path, expected) == 0);
    CHECK_ERRNO(syscall(SYS_getcwd, path, strlen(expected)), ERANGE);
    CHECK_IS(syscall(SYS_getcwd, path, strlen(expected) + 1), strlen(expected) + 1);
    int fd = make("here", "text");
    CHECK(fd >= 0 && close(fd) == 0);
    snprintf(expected, sizeof expected, "%s/cwd/here", temp_dir);
    CHECK(access(expected, R_OK) == 0);
    /* Calls that know no directory. */
    CHECK(truncate("here", 2) == 0);
    struct statfs fs;
    CHECK(statfs("here", &fs) == 0 && fs.f_namelen > 0);
    ssize_t len = readlink("/proc/self/cwd", path, sizeof path);
    CHECK(len > 0 && strncmp(path, expected, (size_t)len) == 0);
    CHECK_ERRNO(chdir("here"), ENOTDIR);
    CHECK_ERRNO(chdir("nowhere"), ENOENT);
    CHECK_ERRNO(chdir(""), ENOENT);
    int up = open("..", O_RDONLY | O_DIRECTORY);
    CHECK(up >= 0 && fchdir(up) == 0 && close(up) == 0);
    CHECK(access("cwd/here", F_OK) == 0);
    int file = open("cwd/here", O_RDONLY);
    CHECK_ERRNO(fchdir(file), ENOTDIR);
    CHECK_ERRNO(fchdir(-1), EBADF);
    CHECK(close(file) == 0 && unlink("cwd/here") == 0);
    /* A directory that is gone. */
    CHECK(chdir("cwd") == 0 && rmdir("../cwd") == 0);
    CHECK(getcwd(path, sizeof path) == NULL && errno == ENOENT);
    CHECK_ERRNO(open("x", O_CREAT | O_WRONLY, 0600), ENOENT);
    CHECK(chdir(temp_dir) == 0);
    return 0;
}

static int masks(void)
{
    mode_t before = umask(027);
    CHECK(umask(027) == 027);
    int fd = open("masked", O_CREAT | O_WRONLY, 0666);
    CHECK(fd >= 0 && close(fd) == 0);
    CHECK_IS(mode_of("masked"), S_IFREG | 0640);
    CHECK(mkdir("masked-dir", 0777) == 0);
    CHECK_IS(mode_of("masked-dir"), S_IFDIR | 0750);
    CHECK(mkfifo("masked-fifo", 0666) == 0);
    CHECK_IS(mode_of("masked-fifo"), S_IFIFO | 0640);
    CHECK(umask(0) == 027);
    CHECK((fd = open("all", O_CREAT | O_WRONLY, 07777)) >= 0 && close(fd) == 0);
    printf("%o ", mode_of("all"));
    CHECK(umask(before) == 0);
    CHECK(unlink("masked") == 0 && rmdir("masked-dir") == 0 && unlink("masked-fifo") == 0 && unlink("all") == 0);
    return 0;
}

static int opening(void)
{
    CHECK_ERRNO(open("none", O_RDONLY), ENOENT);
    int fd = make("a", "0123456789");
    CHECK(fd >= 0);
    CHECK_ERRNO(open("a", O_CREAT | O_EXCL | O_WRONLY, 0600), EEXIST);
    CHECK_ERRNO(open("a", O_DIRECTORY), ENOTDIR);
    CHECK_ERRNO(open("a/b", O_RDONLY), ENOTDIR);
    CHECK_ERRNO(open(".", O_WRONLY), EISDIR);
    CHECK(symlink("a", "link") == 0 && symlink("loop", "loop") == 0);
    CHECK_ERRNO(open("link", O_RDONLY | O_NOFOLLOW), ELOOP);
    CHECK_ERRNO(open("loop", O_RDONLY), ELOOP);
    char name[300];
    memset(name, 'n', sizeof name);
    name[299] = 0;
    CHECK_ERRNO(open(name, O_RDONLY), ENAMETOOLONG);
    CHECK_IS(fcntl(fd, F_GETFL) & ~0100000, O_RDWR);
    CHECK(fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK) == 0);
    CHECK_IS(fcntl(fd, F_GETFL) & ~0100000, O_RDWR | O_APPEND | O_NONBLOCK);
    CHECK(lseek(fd, 0, SEEK_SET) == 0 && write(fd, "end", 3) == 3 && lseek(fd, 0, SEEK_END) == 13);
    CHECK(close(fd) == 0);
    CHECK((fd = open(".", O_TMPFILE | O_RDWR, 0600)) >= 0);
    CHECK(write(fd, "tmp", 3) == 3 && close(fd) == 0);
    struct open_how how = {.flags = O_RDONLY, .resolve = RESOLVE_BENEATH};
    CHECK((fd = (int)syscall(SYS_openat2, AT_FDCWD, "a", &how, sizeof how)) >= 0 && close(fd) == 0);
    CHECK_ERRNO(syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", &how, sizeof how), EXDEV);
    CHECK_ERRNO(syscall(SYS_openat2, AT_FDCWD, "a", &how, 8), EINVAL);
    how.flags = 1ull << 40;
    CHECK_ERRNO(syscall(SYS_openat2, AT_FDCWD, "a", &how, sizeof how), EINVAL);
    CHECK((fd = open("a", O_PATH)) >= 0);
    char c;
    CHECK_ERRNO(read(fd, &c, 1), EBADF);
    struct stat st;
    CHECK(fstat(fd, &st) == 0 && st.st_size == 13 && close(fd) == 0);
    CHECK(unlink("a") == 0 && unlink("link") == 0 && unlink("loop") == 0);
    return 0;
}

static int names(void)
{
    int fd = make("one", "1");
    CHECK(fd >= 0 && close(fd) == 0);
    CHECK(link("one", "two") == 0);
    CHECK_ERRNO(link("one", "two"), EEXIST);
    struct stat st;
    CHECK(stat("one", &st) == 0 && st.st_nlink == 2);
    CHECK(rename("two", "three") == 0);
    CHECK_ERRNO(rename("two", "three"), ENOENT);
    CHECK_ERRNO(renameat2(AT_FDCWD, "one", AT_FDCWD, "three", RENAME_NOREPLACE), EEXIST);
    CHECK(mkdir("dir", 0700) == 0);
    CHECK_ERRNO(mkdir("dir", 0700), EEXIST);
    CHECK_ERRNO(rename("one", "dir"), EISDIR);
    CHECK_ERRNO(unlink("dir"), EISDIR);
    CHECK_ERRNO(rmdir("one"), ENOTDIR);
    CHECK(renameat2(AT_FDCWD, "one", AT_FDCWD, "dir", RENAME_EXCHANGE) == 0);
    CHECK_IS(mode_of("one"), S_IFDIR | 0700);
    CHECK_ERRNO(rmdir("nothing"), ENOENT);
    CHECK((fd = make("one/inside", "x")) >= 0 && close(fd) == 0);
    CHECK_ERRNO(rmdir("one"), ENOTEMPTY);
    char target[100];
    CHECK(symlink("some where", "one/link") == 0 && readlink("one/link", target, 100) == 10);
    CHECK(readlink("one/link", target, 4) == 4 && memcmp(target, "some", 4) == 0);
    CHECK_ERRNO(readlink("dir", target, 100), EINVAL);
    CHECK_ERRNO(readlink("one/link", target, 0), EINVAL);
    DIR *dir = opendir("one");
    int count = 0;
    CHECK(dir != NULL);
    while (readdir(dir) != NULL)
        count++;
    CHECK(closedir(dir) == 0 && count == 4);
    CHECK(unlink("one/inside") == 0 && unlink("one/link") == 0 && rmdir("one") == 0);
    CHECK(unlink("dir") == 0 && unlink("three") == 0);
    return 0;
}

static int modes_and_times(void)
{
    int fd = make("f", "text");
    CHECK(fd >= 0);
    CHECK(chmod("f", 0600) == 0 && mode_of("f") == (S_IFREG | 0600));
    CHECK(fchmod(fd, 0640) == 0 && mode_of("f") == (S_IFREG | 0640));
    CHECK(fchmodat(AT_FDCWD, "f", 0644, 0) == 0 && mode_of("f") == (S_IFREG | 0644));
    CHECK_ERRNO(chmod("g", 0600), ENOENT);
    CHECK(chown("f", (uid_t)-1, (gid_t)-1) == 0 && lchown("f", getuid(), getgid()) == 0);
    CHECK(fchown(fd, getuid(), getgid()) == 0 && fchownat(fd, "", getuid(), getgid(), AT_EMPTY_PATH) == 0);
    struct stat st;
    struct utimbuf times = {.actime = 1000, .modtime = 2000};
    CHECK(utime("f", &times) == 0 && stat("f", &st) == 0 && st.st_atime == 1000 && st.st_mtime == 2000);
    struct timeval tv[2] = {{3, 4}, {5, 6}};
    CHECK(utimes("f", tv) == 0 && stat("f", &st) == 0);
    CHECK(st.st_atim.tv_sec == 3 && st.st_atim.tv_nsec == 4000 && st.st_mtim.tv_sec == 5 && st.st_mtim.tv_nsec == 6000);
    tv[1].tv_usec = 1000000;
    CHECK_ERRNO(syscall(SYS_utimes, "f", tv), EINVAL);
    struct timespec ts[2] = {{7, 8}, {0, UTIME_OMIT}};
    CHECK(futimens(fd, ts) == 0 && fstat(fd, &st) == 0 && st.st_atim.tv_nsec == 8 && st.st_mtim.tv_sec == 5);
    CHECK_ERRNO(syscall(SYS_utimensat, AT_FDCWD, NULL, ts, 0), EFAULT);
    CHECK_ERRNO(utimensat(AT_FDCWD, "g", ts, 0), ENOENT);
    struct statx stx;
    CHECK(statx(AT_FDCWD, "f", 0, STATX_SIZE | STATX_MODE, &stx) == 0 && stx.stx_size == 4);
    CHECK(statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &stx) == 0 && stx.stx_size == 4);
    CHECK_ERRNO(statx(AT_FDCWD, "g", 0, STATX_SIZE, &stx), ENOENT);
    CHECK(access("f", R_OK) == 0);
    CHECK_ERRNO(access("g", F_OK), ENOENT);
    CHECK_ERRNO(access("f", 9), EINVAL);
    CHECK(faccessat(fd, "", R_OK, AT_EMPTY_PATH) == 0);
    CHECK(close(fd) == 0 && unlink("f") == 0);
    return 0;
}

static int contents(void)
{
    int fd = make("c", "0123456789"), other = make("d", "");
    char buffer[100];
    CHECK(fd >= 0 && other >= 0);
    CHECK(ftruncate(fd, 5) == 0 && lseek(fd, 0, SEEK_END) == 5);
    CHECK_ERRNO(ftruncate(fd, -1), EINVAL);
    CHECK_ERRNO(truncate("c", -1), EINVAL);
    CHECK(truncate("c", 8) == 0 && pread(fd, buffer, 100, 0) == 8 && memcmp(buffer, "01234\0\0\0", 8) == 0);
    CHECK(fallocate(fd, 0, 0, 4096) == 0 && lseek(fd, 0, SEEK_END) == 4096);
    CHECK_ERRNO(fallocate(fd, 0, -1, 10), EINVAL);
    CHECK(posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL) == 0 && readahead(fd, 0, 4096) == 0);
    CHECK(fsync(fd) == 0 && fdatasync(fd) == 0 && syncfs(fd) == 0 && sync_file_range(fd, 0, 0, 0) == 0);
    CHECK_ERRNO(fsync(-1), EBADF);
    off_t from = 1, to = 2;
    CHECK_IS(copy_file_range(fd, &from, other, &to, 4, 0), 4);
    CHECK(from == 5 && to == 6 && pread(other, buffer, 100, 0) == 6 && memcmp(buffer, "\0\0" "1234", 6) == 0);
    from = 0;
    CHECK(lseek(other, 0, SEEK_SET) == 0);
    CHECK_IS(sendfile(other, fd, &from, 3), 3);
    CHECK(from == 3 && pread(other, buffer, 3, 0) == 3 && memcmp(buffer, "012", 3) == 0);
    int ends[2];
    CHECK(pipe(ends) == 0);
    loff_t at = 1;
    CHECK_IS(splice(fd, &at, ends[1], NULL, 4, 0), 4);
    CHECK(at == 5 && read(ends[0], buffer, 100) == 4 && memcmp(buffer, "1234", 4) == 0);
    struct iovec part = {.iov_base = "spliced", .iov_len = 7};
    CHECK_IS(vmsplice(ends[1], &part, 1, 0), 7);
    CHECK(read(ends[0], buffer, 100) == 7 && memcmp(buffer, "spliced", 7) == 0);
    CHECK_ERRNO(vmsplice(fd, &part, 1, 0), EBADF);
    CHECK_ERRNO(lseek(ends[0], 0, SEEK_CUR), ESPIPE);
    CHECK_ERRNO(lseek(fd, -1, SEEK_SET), EINVAL);
    CHECK(fcntl(ends[0], F_SETPIPE_SZ, 8192) >= 8192 && fcntl(ends[0], F_GETPIPE_SZ) >= 8192);
    CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
    CHECK(close(fd) == 0 && close(other) == 0 && unlink("c") == 0 && unlink("d") == 0);
    return 0;
}

static int locks(void)
{
    int fd = make("l", "0123456789"), again = open("l", O_RDWR);
    CHECK(fd >= 0 && again >= 0);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 5};
    CHECK(fcntl(fd, F_SETLK, &lock) == 0);
    lock.l_type = F_RDLCK;
    CHECK(fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type == F_UNLCK);
    lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 6, .l_len = 2};
    CHECK(fcntl(fd, F_OFD_SETLK, &lock) == 0);
    CHECK_ERRNO(fcntl(again, F_OFD_SETLK, &lock), EAGAIN);
    CHECK(fcntl(again, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_WRLCK && lock.l_start == 6 && lock.l_pid == -1);
    lock.l_type = 77;
    CHECK_ERRNO(fcntl(fd, F_SETLK, &lock), EINVAL);
    CHECK(flock(fd, LOCK_EX) == 0);
    CHECK_ERRNO(flock(again, LOCK_EX | LOCK_NB), EAGAIN);
    CHECK(flock(fd, LOCK_UN) == 0 && flock(again, LOCK_SH | LOCK_NB) == 0);
    CHECK(close(fd) == 0 && close(again) == 0 && unlink("l") == 0);
    return 0;
}

static int attributes(void)
{
    int fd = make("x", "");
    char value[100];
    CHECK(fd >= 0);
    if (setxattr("x", "user.a", "value", 5, 0) != 0) {
        /* tmpfs has none of users' before Linux 6.6. */
        CHECK(errno == EOPNOTSUPP);
        return close(fd) || unlink("x");
    }
    CHECK_IS(getxattr("x", "user.a", NULL, 0), 5);
    CHECK(fgetxattr(fd, "user.a", value, sizeof value) == 5 && memcmp(value, "value", 5) == 0);
    CHECK_ERRNO(lgetxattr("x", "user.a", value, 3), ERANGE);
    CHECK_ERRNO(getxattr("x", "user.b", value, 3), ENODATA);
    CHECK_ERRNO(setxattr("x", "user.a", "other", 5, XATTR_CREATE), EEXIST);
    CHECK(listxattr("x", NULL, 0) >= 7 && flistxattr(fd, value, sizeof value) >= 7);
    CHECK(removexattr("x", "user.a") == 0);
    CHECK_ERRNO(fremovexattr(fd, "user.a"), ENODATA);
    return close(fd) || unlink("x");
}

static int events(void)
{
    int fd = inotify_init1(IN_NONBLOCK);
    CHECK(fd >= 0);
    int watch = inotify_add_watch(fd, ".", IN_CREATE | IN_DELETE);
    CHECK(watch >= 0);
    CHECK_ERRNO(inotify_add_watch(fd, "none", IN_CREATE), ENOENT);
    union { char bytes[4096]; struct inotify_event event; } buffer;
    CHECK_ERRNO(read(fd, &buffer, sizeof buffer), EAGAIN);
    int file = make("seen", "");
    CHECK(file >= 0 && close(file) == 0 && unlink("seen") == 0);
    CHECK(read(fd, &buffer, sizeof buffer) > 0);
    CHECK(buffer.event.mask == IN_CREATE && strcmp(buffer.event.name, "seen") == 0);
    CHECK(inotify_rm_watch(fd, watch) == 0);
    CHECK_ERRNO(inotify_rm_watch(fd, 77), EINVAL);
    CHECK(close(fd) == 0);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    struct itimerspec spec = {.it_value = {0, 1000000}, .it_interval = {0, 1000000}}, old;
    uint64_t count = 0;
    CHECK(timer >= 0 && timerfd_settime(timer, 0, &spec, NULL) == 0);
    CHECK(read(timer, &count, 8) == 8 && count > 0);
    CHECK(timerfd_gettime(timer, &old) == 0 && old.it_interval.tv_nsec == 1000000);
    CHECK_ERRNO(read(timer, &count, 7), EINVAL);
    CHECK_ERRNO(timerfd_settime(0, 0, &spec, NULL), EINVAL);
    CHECK(close(timer) == 0);
    int memory = memfd_create("name", MFD_ALLOW_SEALING | MFD_CLOEXEC);
    CHECK(memory >= 0 && fcntl(memory, F_GETFD) == FD_CLOEXEC && ftruncate(memory, 100) == 0);
    CHECK(fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK) == 0 && fcntl(memory, F_GET_SEALS) == F_SEAL_SHRINK);
    CHECK_ERRNO(ftruncate(memory, 10), EPERM);
    return close(memory);
}

int main(int argc, char **argv)
{
    static const struct part parts[] = {
        {"working directory", working_directory},
        {"masks", masks},
        {"opening", opening},
        {"names", names},
        {"modes and times", modes_and_times},
        {"contents", contents},
        {"locks", locks},
        {"extended attributes", attributes},
        {"events", events},
    };
    enter_temp_dir();
    return RUN_PARTS(parts, argc, argv);
}
