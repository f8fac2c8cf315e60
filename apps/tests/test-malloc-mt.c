// SPDX-License-Identifier: MIT OR Apache-2.0

// malloc from many threads: each checks its own blocks, and frees what its neighbour has allocated and filled.

#define _GNU_SOURCE
#include "blocks.h"
#include "check.h"

enum { THREADS = 8, ROUNDS = 1500, BLOCKS = 100, SLOTS = 32, HANDED_ON = 1500 };

static void *own_blocks(void *arg)
{
    uint64_t me = (uint64_t)(uintptr_t)arg;
    uint32_t state = (uint32_t)me + 1;
    void *blocks[BLOCKS] = {0};
    size_t sizes[BLOCKS] = {0};
    for (int round = 0; round < ROUNDS; round++) {
        size_t i = random_of(&state) % BLOCKS, size = 1 + random_of(&state) % (round % 100 == 0 ? 400000 : 2000);
        if (blocks[i]) {
            MUST(is_filled(blocks[i], sizes[i], me * 1000 + i));
            if (round % 3 == 0) {
                blocks[i] = realloc(blocks[i], size);
                MUST(blocks[i]);
                size_t both = size < sizes[i] ? size : sizes[i];
                MUST(is_filled(blocks[i], both - both % 8, me * 1000 + i));
            } else {
                free(blocks[i]);
                blocks[i] = NULL;
            }
        }
        if (!blocks[i])
            blocks[i] = malloc(size);
        MUST(blocks[i]);
        sizes[i] = size;
        fill(blocks[i], size, me * 1000 + i);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        MUST(!blocks[i] || is_filled(blocks[i], sizes[i], me * 1000 + i));
        free(blocks[i]);
    }
    return NULL;
}

/* Round and round: thread n puts blocks into the ring of thread n + 1, which frees them. */
static struct ring {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct { void *block; size_t size; uint64_t seed; } slots[SLOTS];
    size_t put, taken;
} rings[THREADS];

static void take(struct ring *ring)
{
    pthread_mutex_lock(&ring->lock);
    while (ring->put == ring->taken)
        pthread_cond_wait(&ring->changed, &ring->lock);
    size_t slot = ring->taken++ % SLOTS;
    void *block = ring->slots[slot].block;
    MUST(is_filled(block, ring->slots[slot].size, ring->slots[slot].seed));
    pthread_cond_signal(&ring->changed);
    pthread_mutex_unlock(&ring->lock);
    free(block);
}

static void put(struct ring *ring, void *block, size_t size, uint64_t seed)
{
    pthread_mutex_lock(&ring->lock);
    while (ring->put - ring->taken == SLOTS)
        pthread_cond_wait(&ring->changed, &ring->lock);
    size_t slot = ring->put++ % SLOTS;
    ring->slots[slot].block = block;
    ring->slots[slot].size = size;
    ring->slots[slot].seed = seed;
    pthread_cond_signal(&ring->changed);
    pthread_mutex_unlock(&ring->lock);
}

static void *hands_on(void *arg)
{
    size_t me = (size_t)(uintptr_t)arg;
    uint32_t state = (uint32_t)me + 77;
    for (uint64_t i = 0; i < HANDED_ON; i++) {
        size_t size = 1 + random_of(&state) % (i % 100 == 0 ? 200000 : 1000);
        void *block = malloc(size);
        MUST(block);
        fill(block, size, me * 100000 + i);
        put(&rings[(me + 1) % THREADS], block, size, me * 100000 + i);
        /* Half a ring's length behind, so that nobody waits for one who waits for him. */
        if (i >= SLOTS / 2)
            take(&rings[me]);
    }
    for (int i = 0; i < SLOTS / 2; i++)
        take(&rings[me]);
    return NULL;
}

static int in_all(void *(*run)(void *))
{
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        threads[i] = start(run, (void *)i);
    for (size_t i = 0; i < THREADS; i++)
        join(threads[i]);
    return 0;
}

static int own(void)
{
    return in_all(own_blocks);
}

static int freed_elsewhere(void)
{
    for (size_t i = 0; i < THREADS; i++) {
        CHECK(pthread_mutex_init(&rings[i].lock, NULL) == 0);
        CHECK(pthread_cond_init(&rings[i].changed, NULL) == 0);
    }
    return in_all(hands_on);
}

static void *allocates_one(void *arg)
{
    size_t size = (size_t)(uintptr_t)arg;
    void *block = malloc(size);
    MUST(block);
    fill(block, size, size);
    return block;
}

/* What a thread has allocated outlives it. */
static int outlives(void)
{
    for (size_t i = 0; i < 300; i++) {
        size_t size = 1 + i * i * 3;
        void *block = join(start(allocates_one, (void *)size));
        CHECK(is_filled(block, size, size));
        free(block);
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct part parts[] = {
        {"own blocks", own},
        {"freed by another", freed_elsewhere},
        {"outlives its thread", outlives},
    };
    return RUN_PARTS(parts, argc, argv);
}
