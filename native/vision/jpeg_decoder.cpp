#include "vision/jpeg_decoder.h"

#include <string>
#include <utility>

#include "error.h"

#ifdef FAISS_VISION_CUDA

#include <algorithm>
#include <thread>

#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>

namespace faiss_vision {
namespace {

// Of nvJPEG's C interface, as NVIDIA documents it: what is called here. So nothing of it is needed to compile.
enum Status { kSuccess = 0, kAllocatorFailure = 5 };
enum Backend { kDefault = 0, kHardware = 3 };
constexpr int kRgbInterleaved = 5, kComponents = 4;
constexpr unsigned kStrict = 1 << 2, kInterpolateChroma = 1 << 5; // flags: refuse what is not whole; as libjpeg enlarges colours
using Handle = struct nvjpegHandle*;
using State = struct nvjpegJpegState*;
struct Destination {
    unsigned char* channel[kComponents];
    size_t pitch[kComponents];
};

/// nvJPEG takes memory through the driver, of the context that is the thread's. torch makes none the thread's where the number of its
/// device is the one it has already, as 0 is on a new thread; there nvJPEG would find no memory.
void enter(const Device& device) { cudaSetDevice(device.place().index()); }

[[noreturn]] void unavailable(const std::string& reason) { throw Error("ERR_CUDA_UNAVAILABLE", "nvJPEG cannot be used: " + reason); }

} // namespace

struct JpegDecoder::Library {
    Library() {
        const std::string name = "libnvjpeg.so." + std::to_string(CUDART_VERSION / 1000);
        static void* const handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL); // stays until the process ends
        if (handle == nullptr) unavailable(std::string(dlerror()) + "; it may lie beside the addon, in its CUDA toolkit or where the system looks");
        const auto find = [&](auto& function, const char* function_name) {
            function = reinterpret_cast<std::decay_t<decltype(function)>>(dlsym(handle, function_name));
            if (function == nullptr) unavailable(name + " has no " + function_name);
        };
        find(create, "nvjpegCreateEx");
        find(destroy, "nvjpegDestroy");
        find(createState, "nvjpegJpegStateCreate");
        find(destroyState, "nvjpegJpegStateDestroy");
        find(info, "nvjpegGetImageInfo");
        find(begin, "nvjpegDecodeBatchedInitialize");
        find(decode, "nvjpegDecodeBatched");
        int status = 1;
        for (const Backend backend : {kHardware, kDefault}) {
            for (const unsigned flags : {kStrict | kInterpolateChroma, kInterpolateChroma, 0u}) {
                if (status != kSuccess) status = create(backend, nullptr, nullptr, flags, &made);
            }
        }
        if (status != kSuccess) unavailable("it gives status " + std::to_string(status));
        status = createState(made, &state);
        if (status == kSuccess) return;
        destroy(made);
        unavailable("it gives status " + std::to_string(status));
    }
    ~Library() {
        destroyState(state);
        destroy(made);
    }
    Library(const Library&) = delete;
    Library& operator=(const Library&) = delete;

    int (*create)(int backend, void* deviceAllocator, void* pinnedAllocator, unsigned flags, Handle* handle);
    int (*destroy)(Handle handle);
    int (*createState)(Handle handle, State* state);
    int (*destroyState)(State state);
    int (*info)(Handle handle, const unsigned char* data, size_t length, int* components, int* subsampling, int* widths, int* heights);
    int (*begin)(Handle handle, State state, int batch, int threads, int format);
    int (*decode)(Handle handle, State state, const unsigned char* const* data, const size_t* lengths, Destination* destinations, cudaStream_t stream);

    Handle made = nullptr;
    State state = nullptr;
    size_t batch = 0; // that the state is set up for
};

JpegDecoder::JpegDecoder(std::shared_ptr<const Device> device) : device_(std::move(device)) {
    device_->run([&] {
        if (device_->place().is_cuda()) enter(*device_);
        library_ = std::make_unique<Library>();
    });
    if (!device_->place().is_cuda()) throw Error("ERR_UNSUPPORTED", "nvJPEG decodes on a GPU alone");
}

JpegDecoder::~JpegDecoder() {
    const c10::cuda::CUDAGuard here(device_->place().index());
    enter(*device_);
    library_.reset();
}

void JpegDecoder::decode(const std::vector<File>& files) {
    enter(*device_);
    const auto check = [this](int status) {
        if (status == kSuccess) return;
        library_->batch = 0;     // setting it up anew ends what failed
        cudaDeviceSynchronize(); // the decoders may still be writing, in streams of nvJPEG's own, where the next picture will be
        cudaGetLastError();
        if (status == kAllocatorFailure) throw Error("ERR_CUDA_OUT_OF_MEMORY", "the device has not enough memory: nvJPEG says so");
        throw Error("ERR_IMAGE_DECODE", "nvJPEG refuses a picture: status " + std::to_string(status));
    };
    std::vector<const unsigned char*> data;
    std::vector<size_t> lengths;
    std::vector<Destination> destinations;
    for (const File& file : files) {
        int components, subsampling, widths[kComponents], heights[kComponents];
        check(library_->info(library_->made, file.data, file.bytes, &components, &subsampling, widths, heights));
        if (components != 3 || widths[0] != file.width || heights[0] != file.height) {
            throw Error("ERR_IMAGE_DECODE", "expected a JPEG file of three colours and " + std::to_string(file.width) + " x " +
                                                std::to_string(file.height) + " pixels, got another");
        }
        data.push_back(file.data);
        lengths.push_back(file.bytes);
        destinations.push_back({{file.pixels}, {size_t{3} * size_t(file.width)}});
    }
    if (library_->batch != files.size()) {
        const int threads = int(std::min<size_t>(files.size(), std::max(1u, std::thread::hardware_concurrency())));
        check(library_->begin(library_->made, library_->state, int(files.size()), threads, kRgbInterleaved));
        library_->batch = files.size();
    }
    check(library_->decode(library_->made, library_->state, data.data(), lengths.data(), destinations.data(), c10::cuda::getCurrentCUDAStream()));
}

} // namespace faiss_vision

#else

namespace faiss_vision {

struct JpegDecoder::Library {};

JpegDecoder::JpegDecoder(std::shared_ptr<const Device> device) : device_(std::move(device)) {
    throw Error("ERR_CUDA_UNAVAILABLE", "nvJPEG cannot be used: this build of faiss-vision has no CUDA");
}
JpegDecoder::~JpegDecoder() = default;
void JpegDecoder::decode(const std::vector<File>&) {}

} // namespace faiss_vision

#endif
