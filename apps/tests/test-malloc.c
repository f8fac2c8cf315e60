// SPDX-License-Identifier: MIT OR Apache-2.0

// malloc and its like, from 1 byte to 64 MiB: blocks keep what is written to them, whatever is allocated,
// grown, shrunk and freed around them.

#define _GNU_SOURCE
#include <malloc.h>

#include "blocks.h"
#include "check.h"

#define MIB ((size_t)1 << 20)

static int all_sizes(void)
{
    for (size_t size = 1; size <= 64 * MIB; size *= 2) {
        for (int off = -1; off <= 1; off++) {
            size_t len = size + (size_t)off;
            /* The largest is tried once, the memory of an isle is small. */
            if (len == 0 || len > 64 * MIB || (size > 4 * MIB && off != 0))
                continue;
            void *block = malloc(len);
            CHECK(block && (uintptr_t)block % 16 == 0 && malloc_usable_size(block) >= len);
            fill(block, len, size);
            CHECK(is_filled(block, len, size));
            free(block);
        }
    }
    free(NULL);
    void *empty = malloc(0), *other = malloc(0);
    CHECK(empty && other && empty != other);
    free(empty);
    free(other);
    return 0;
}

enum { BLOCKS = 400 };
static void *blocks[BLOCKS];
static size_t sizes[BLOCKS];

static int allocate_all(void)
{
    uint32_t state = 7;
    for (size_t i = 0; i < BLOCKS; i++) {
        sizes[i] = 1 + random_of(&state) % (i % 20 == 0 ? 300000 : 3000);
        blocks[i] = malloc(sizes[i]);
        CHECK(blocks[i]);
        fill(blocks[i], sizes[i], i);
    }
    return 0;
}

static int free_one(size_t i)
{
    CHECK(is_filled(blocks[i], sizes[i], i));
    free(blocks[i]);
    blocks[i] = NULL;
    return 0;
}

static int odd_orders(void)
{
    if (allocate_all())
        return 1;
    for (size_t i = 0; i < BLOCKS; i++)
        if (free_one(i))
            return 1;
    if (allocate_all())
        return 1;
    for (size_t i = BLOCKS; i-- > 0;)
        if (free_one(i))
            return 1;
    if (allocate_all())
        return 1;
    /* Every other one, then the rest in strides of a prime number. */
    for (size_t i = 0; i < BLOCKS; i += 2)
        if (free_one(i))
            return 1;
    for (size_t i = 0; i < BLOCKS; i++)
        if (blocks[i * 37 % BLOCKS] && free_one(i * 37 % BLOCKS))
            return 1;
    return 0;
}

static int reallocates(void)
{
    char *block = realloc(NULL, 10);
    CHECK(block);
    fill(block, 10, 1);
    size_t size = 10;
    /* Up to 20 MB by a third, down again by halves. */
    while (size < 20 * MIB) {
        size_t larger = size + size / 3 + 1;
        block = realloc(block, larger);
        CHECK(block && is_filled(block, size - size % 8, 1));
        size = larger;
        fill(block, size, 1);
    }
    while (size > 10) {
        size /= 2;
        block = realloc(block, size);
        CHECK(block && is_filled(block, size - size % 8, 1));
    }
    free(block);
    /* Two that grow in turn, and are in each other's way. */
    char *first = malloc(100), *second = malloc(100);
    for (size = 100; size < 2 * MIB; size += size / 2) {
        fill(first, size, 5);
        fill(second, size, 6);
        first = realloc(first, size + size / 2);
        second = realloc(second, size + size / 2);
        CHECK(first && is_filled(first, size, 5));
        CHECK(second && is_filled(second, size, 6));
    }
    free(first);
    free(second);
    return 0;
}

static int clears(void)
{
    for (size_t size = 1; size <= 8 * MIB; size *= 3) {
        for (int round = 0; round < 3; round++) {
            unsigned char *block = calloc(1, size);
            CHECK(block && block[0] == 0 && memcmp(block, block + 1, size - 1) == 0);
            memset(block, 0xff, size);
            free(block);
        }
    }
    return 0;
}

static int aligns(void)
{
    void *kept[64];
    size_t count = 0;
    for (size_t alignment = 16; alignment <= MIB; alignment *= 2) {
        for (size_t size = 1; size <= 100000; size *= 10) {
            void *block = NULL;
            CHECK(posix_memalign(&block, alignment, size) == 0);
            CHECK(block && (uintptr_t)block % alignment == 0);
            fill(block, size, alignment);
            void *other = aligned_alloc(alignment, alignment);
            CHECK(other && (uintptr_t)other % alignment == 0);
            fill(other, alignment, 3);
            CHECK(is_filled(block, size, alignment));
            free(other);
            if (count < 64 && size == 100) {
                kept[count++] = block;
                continue;
            }
            free(block);
        }
    }
    while (count-- > 0)
        free(kept[count]);
    void *block;
    CHECK_IS(posix_memalign(&block, 24, 8), EINVAL);
    return 0;
}

/* The compiler can't know it. */
static volatile size_t far_too_large = SIZE_MAX / 2 + 4096, many = SIZE_MAX / 8;

static int refuses(void)
{
    errno = 0;
    CHECK(malloc(far_too_large) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(calloc(many, 16) == NULL && errno == ENOMEM);
    char *block = malloc(100);
    CHECK(block);
    fill(block, 100, 9);
    CHECK(realloc(block, far_too_large) == NULL && is_filled(block, 100, 9));
    free(block);
    /* More than there is addresses for, but not absurd. */
    CHECK(malloc((size_t)1 << 50) == NULL && errno == ENOMEM);
    return 0;
}

static int many_rounds(void)
{
    uint32_t state = 99;
    for (int round = 0; round < 20000; round++) {
        size_t i = random_of(&state) % BLOCKS;
        if (blocks[i] && free_one(i))
            return 1;
        sizes[i] = 1 + random_of(&state) % (random_of(&state) % 128 == 0 ? 300000 : 1000);
        blocks[i] = malloc(sizes[i]);
        CHECK(blocks[i]);
        fill(blocks[i], sizes[i], i);
    }
    for (size_t i = 0; i < BLOCKS; i++)
        if (blocks[i] && free_one(i))
            return 1;
#ifdef __GLIBC__
    malloc_trim(0);
#endif
    return 0;
}

int main(int argc, char **argv)
{
    static const struct part parts[] = {
        {"all sizes", all_sizes},
        {"odd orders", odd_orders},
        {"reallocates", reallocates},
        {"clears", clears},
        {"aligns", aligns},
        {"refuses", refuses},
        {"many rounds", many_rounds},
    };
    return RUN_PARTS(parts, argc, argv);
}
