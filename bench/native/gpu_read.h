#pragma once

#include <cstddef>

/// The least of 20 times that a kernel takes which reads so many bytes of this GPU's memory and does nothing else.
double readMicroseconds(int device, size_t bytes);
