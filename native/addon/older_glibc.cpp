// Three things that a new glibc offers and an old one lacks, for ann.node alone, so that what is built on a new system loads
// on an old one; scripts/release/older-glibc.mjs does the rest. The C++ library and FAISS use them.
#include <cstdint>

#if defined(__GLIBC__) && defined(__x86_64__)

#include <sys/syscall.h>
#include <unistd.h>

#define OURS extern "C" __attribute__((visibility("hidden")))

/// glibc 2.32: whether reference counts may do without atomic operations. They may not: there are threads.
OURS char __libc_single_threaded;
char __libc_single_threaded = 0;

/// glibc 2.33 (before, a macro around __fxstat). The kernel's structure is glibc's on x86-64.
OURS int fstat(int descriptor, void* status) { return static_cast<int>(syscall(SYS_fstat, descriptor, status)); }

/// glibc 2.36, where std::random_device takes its numbers from.
OURS uint32_t arc4random() {
    uint32_t number;
    if (syscall(SYS_getrandom, &number, sizeof number, 0) != sizeof number) __builtin_trap();
    return number;
}

#endif
