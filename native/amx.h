#pragma once

// What is needed around AMX's instructions; the products themselves are where they are used.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && (defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11)
#define FAISS_VISION_AMX 1 // the compiler knows it, and AVX-VNNI, which came with it

#include <cstdint>

#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace faiss_vision::amx {

/// A bit of what CPUID says; registers are counted eax, ebx, ecx, edx.
inline bool cpuHas(unsigned leaf, unsigned subleaf, int reg, unsigned bit) {
    unsigned registers[4] = {};
    return __get_cpuid_count(leaf, subleaf, &registers[0], &registers[1], &registers[2], &registers[3]) != 0 && (registers[reg] >> bit & 1) != 0;
}

enum class Kind : unsigned { Bf16 = 22, Int8 = 25 }; // bits of CPUID leaf 7, edx

/// The processor has AMX of that kind, and the system lets this process use it. Linux asks for more room on alternative signal
/// stacks from then on, in the whole process.
inline bool granted(Kind kind) {
    constexpr unsigned kTile = 24;
    if (!cpuHas(7, 0, 3, kTile) || !cpuHas(7, 0, 3, unsigned(kind))) return false;
    constexpr int kAskForPermission = 0x1023, kTileData = 18; // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return ::syscall(SYS_arch_prctl, kAskForPermission, kTileData) == 0;
}

/// Eight tiles of 16 rows of 64 bytes.
struct alignas(64) TileConfiguration {
    uint8_t palette = 1, start = 0, reserved[14] = {};
    uint16_t bytesPerRow[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

/// Around the use of tiles on one thread.
__attribute__((target("amx-tile"))) inline void enter() {
    static constexpr TileConfiguration configuration; // in memory, not on the stack: GCC 12 believes that only its first bytes are read
    _tile_loadconfig(&configuration);
}
__attribute__((target("amx-tile"))) inline void leave() { _tile_release(); }

} // namespace faiss_vision::amx

#endif
