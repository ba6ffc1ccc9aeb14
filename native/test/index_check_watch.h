#pragma once

// What the tests of damaged files watch: what the program allocates, and what was being done when it ended. It replaces
// operator new, so one file of a program includes it.

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

#include <malloc.h>
#include <omp.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FAISS_VISION_OTHER_ALLOCATOR
#endif

namespace {

// ---- what is allocated: operator new and, for FAISS's aligned tables, posix_memalign ----
std::atomic<size_t> largest{0}, live{0}, peak{0}; // stay 0 under a sanitizer, which has an allocator of its own

#ifndef FAISS_VISION_OTHER_ALLOCATOR
void counted(void* at, size_t asked) {
    const size_t now = live += malloc_usable_size(at);
    for (size_t old = largest; asked > old && !largest.compare_exchange_weak(old, asked);) {}
    for (size_t old = peak; now > old && !peak.compare_exchange_weak(old, now);) {}
}

void* allocate(size_t bytes) {
    void* const at = std::malloc(bytes == 0 ? 1 : bytes);
    if (at == nullptr) throw std::bad_alloc();
    counted(at, bytes);
    return at;
}

void release(void* at) {
    if (at == nullptr) return;
    live -= malloc_usable_size(at);
    std::free(at);
}
#endif

} // namespace

#ifndef FAISS_VISION_OTHER_ALLOCATOR
void* operator new(size_t bytes) { return allocate(bytes); }
void* operator new[](size_t bytes) { return allocate(bytes); }
void operator delete(void* at) noexcept { release(at); }
void operator delete[](void* at) noexcept { release(at); }
void operator delete(void* at, size_t) noexcept { release(at); }
void operator delete[](void* at, size_t) noexcept { release(at); }
// Freed by free() without being taken off: an upper bound is all that is asked for.
extern "C" int posix_memalign(void** at, size_t alignment, size_t bytes) {
    *at = aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    if (*at == nullptr) return ENOMEM;
    for (size_t old = largest; bytes > old && !largest.compare_exchange_weak(old, bytes);) {}
    return 0;
}
#endif

namespace faiss_vision {
namespace {

struct Needs {
    size_t largest, peak;
};

template <class Work>
Needs allocated(Work work) {
    const size_t before = live;
    largest = 0;
    peak = before;
    work();
    return {largest, peak - before};
}

// ---- what was being done, for the last words of a test that crashes or hangs ----
char lastWords[256];

void sayLastWords(int signal) {
    const ssize_t written = ::write(2, lastWords, std::strlen(lastWords));
    (void)written;
    std::signal(signal, SIG_DFL);
    ::raise(signal);
}

void watch(const std::string& what) {
    std::snprintf(lastWords, sizeof lastWords, "\nended while: %s\n", what.c_str());
    ::alarm(300);
}

class IndexCheck : public testing::Test {
protected:
    static void SetUpTestSuite() {
        omp_set_num_threads(1);
        for (const int signal : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGALRM}) std::signal(signal, sayLastWords);
    }
    static void TearDownTestSuite() { ::alarm(0); }
};

} // namespace
} // namespace faiss_vision
