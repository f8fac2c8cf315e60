// SPDX-License-Identifier: MIT OR Apache-2.0

// Threads of C++: exceptions that leave one thread for another, futures, thread-locals with destructors, and what the
// library has for waiting.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <future>
#include <iostream>
#include <memory>
#include <mutex>
#include <numeric>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;

constexpr int threads = 8;

void must(bool condition, const char *what)
{
    if (!condition)
        throw std::runtime_error(what);
}

struct Counted {
    static std::atomic<int> alive;
    Counted() { alive++; }
    ~Counted() { alive--; }
};
std::atomic<int> Counted::alive{0};

int fail(int depth)
{
    Counted counted;
    std::string text = "thrown at " + std::to_string(depth);
    if (depth == 0)
        throw std::out_of_range(text);
    return fail(depth - 1) + static_cast<int>(text.size());
}

void exceptions_cross_threads()
{
    std::exception_ptr caught;
    std::thread([&] {
        try {
            fail(20);
        } catch (...) {
            caught = std::current_exception();
        }
    }).join();
    must(Counted::alive == 0, "not all destructors ran");
    try {
        std::rethrow_exception(caught);
    } catch (const std::out_of_range &e) {
        must(std::string(e.what()) == "thrown at 0", "another exception");
        return;
    }
    throw std::runtime_error("nothing was thrown");
}

// Unwinding takes locks in some run times.
void all_throw_at_once()
{
    std::atomic<int> sum{0};
    std::vector<std::thread> team;
    for (int i = 0; i < threads; i++)
        team.emplace_back([&] {
            for (int round = 0; round < 300; round++) {
                try {
                    fail(round % 10);
                } catch (const std::logic_error &) {
                    sum++;
                }
            }
        });
    for (auto &thread : team)
        thread.join();
    must(sum == threads * 300 && Counted::alive == 0, "exceptions got lost");
}

void futures()
{
    std::vector<std::future<long>> parts;
    for (long i = 0; i < threads; i++)
        parts.push_back(std::async(std::launch::async, [i] {
            std::vector<long> numbers(10000);
            std::iota(numbers.begin(), numbers.end(), i * 10000);
            return std::accumulate(numbers.begin(), numbers.end(), 0L);
        }));
    long sum = 0;
    for (auto &part : parts)
        sum += part.get();
    must(sum == 80000L * 79999 / 2, "wrong sum");

    auto broken = std::async(std::launch::async, [] { return fail(3); });
    try {
        broken.get();
        must(false, "no exception of async");
    } catch (const std::out_of_range &) {
    }
    auto deferred = std::async(std::launch::deferred,
                               [id = std::this_thread::get_id()] { return id == std::this_thread::get_id(); });
    must(deferred.get(), "deferred ran elsewhere");

    std::promise<std::unique_ptr<int>> promise;
    auto future = promise.get_future();
    must(future.wait_for(5ms) == std::future_status::timeout, "a promise kept itself");
    std::thread keeper([&] { promise.set_value(std::make_unique<int>(42)); });
    must(*future.get() == 42, "wrong value");
    keeper.join();
    std::future<void> orphan;
    {
        std::promise<void> forgotten;
        orphan = forgotten.get_future();
    }
    try {
        orphan.get();
        must(false, "a promise forgotten, but kept");
    } catch (const std::future_error &e) {
        must(e.code() == std::future_errc::broken_promise, "another error");
    }
    std::packaged_task<int(int)> task([](int x) { return x * 2; });
    auto doubled = task.get_future();
    std::thread(std::move(task), 21).join();
    must(doubled.get() == 42, "wrong result of a task");
}

std::atomic<int> made{0}, destroyed{0};

struct Local {
    std::string text;
    Local() : text("initial") { made++; }
    ~Local() { destroyed += text == "changed by its thread"; }
};

thread_local Local local;
thread_local std::vector<int> numbers{1, 2, 3};

void thread_locals()
{
    std::vector<std::thread> team;
    for (int i = 0; i < threads; i++)
        team.emplace_back([i] {
            must(local.text == "initial" && numbers.size() == 3, "not initialized");
            local.text = "changed by its thread";
            numbers.assign(1000, i);
            std::this_thread::yield();
            must(std::count(numbers.begin(), numbers.end(), i) == 1000, "changed by another thread");
        });
    for (auto &thread : team)
        thread.join();
    must(made == threads && destroyed == threads, "not made and destroyed for each thread");
    must(local.text == "initial", "the main thread's own has changed");
}

void statics_and_once()
{
    static std::atomic<int> runs{0};
    static std::once_flag flag;
    static std::atomic<int> flag_runs{0};
    std::vector<std::thread> team;
    for (int i = 0; i < threads; i++)
        team.emplace_back([] {
            static const int value = [] {
                std::this_thread::sleep_for(5ms);
                return ++runs;
            }();
            must(value == 1, "initialized more than once");
            // The first throws, so the next tries again.
            try {
                std::call_once(flag, [] {
                    if (++flag_runs == 1)
                        throw std::runtime_error("not yet");
                });
            } catch (const std::runtime_error &) {
            }
        });
    for (auto &thread : team)
        thread.join();
    must(runs == 1 && flag_runs == 2, "wrong number of runs");
}

void locks()
{
    std::mutex first, second;
    std::shared_mutex shared;
    std::condition_variable condition;
    std::timed_mutex timed;
    long count = 0;
    std::vector<std::thread> team;
    for (int i = 0; i < threads; i++)
        team.emplace_back([&, i] {
            for (int round = 0; round < 500; round++) {
                if (i % 2) {
                    std::scoped_lock both(first, second);
                    count++;
                } else {
                    std::scoped_lock both(second, first);
                    count++;
                }
                std::shared_lock reader(shared);
            }
            std::unique_lock writer(shared);
        });
    for (auto &thread : team)
        thread.join();
    must(count == threads * 500, "a lock let two in");

    int stage = 0;
    std::thread answerer([&] {
        std::unique_lock lock(first);
        condition.wait(lock, [&] { return stage == 1; });
        stage = 2;
        condition.notify_all();
    });
    {
        std::unique_lock lock(first);
        must(!condition.wait_for(lock, 5ms, [&] { return stage == 2; }), "no timeout");
        stage = 1;
        condition.notify_all();
        condition.wait(lock, [&] { return stage == 2; });
    }
    answerer.join();
    timed.lock();
    std::thread([&] { must(!timed.try_lock_for(5ms), "locked twice"); }).join();
    timed.unlock();

    auto before = std::chrono::steady_clock::now();
    std::this_thread::sleep_for(10ms);
    must(std::chrono::steady_clock::now() - before >= 10ms, "too short a sleep");
}

} // namespace

int main()
{
    const struct { const char *name; void (*run)(); } parts[] = {
        {"exceptions cross threads", exceptions_cross_threads},
        {"all throw at once", all_throw_at_once},
        {"futures", futures},
        {"thread-locals", thread_locals},
        {"statics and once", statics_and_once},
        {"locks", locks},
    };
    int status = 0;
    for (const auto &part : parts) {
        try {
            part.run();
            std::cout << part.name << ": ok" << std::endl;
        } catch (const std::exception &e) {
            std::cout << part.name << ": FAILED" << std::endl;
            std::cerr << e.what() << std::endl;
            status = 1;
        }
    }
    return status;
}
