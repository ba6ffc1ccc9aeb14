#pragma once

#include <cstddef>
#include <memory>

/// The least of 20 times that a kernel takes which reads so many bytes of this GPU's memory and does nothing else.
double readMicroseconds(int device, size_t bytes);

/// Takes all memory of a GPU but so many bytes, until what it gives is let go of.
std::shared_ptr<void> holdGpuMemory(int device, size_t leave);
