// A driver that has no device, for cuDNN's engines, which are bound to these names before they are planned.
#define NONE(name) \
    int name(void) { return 100; }  // CUDA_ERROR_NO_DEVICE
NONE(cuInit) NONE(cuCtxGetCurrent) NONE(cuCtxGetLimit) NONE(cuCtxPopCurrent) NONE(cuCtxPushCurrent) NONE(cuDeviceGet)
NONE(cuDeviceGetCount) NONE(cuGetErrorName) NONE(cuGetErrorString) NONE(cuKernelGetAttribute) NONE(cuKernelGetFunction)
NONE(cuKernelSetAttribute) NONE(cuLaunchCooperativeKernel) NONE(cuLaunchKernel) NONE(cuLaunchKernelEx)
NONE(cuLibraryGetKernel) NONE(cuLibraryLoadData) NONE(cuLibraryLoadFromFile) NONE(cuLibraryUnload) NONE(cuLinkAddData)
NONE(cuLinkComplete) NONE(cuLinkCreate) NONE(cuLinkDestroy) NONE(cuModuleGetFunction) NONE(cuModuleLoadData)
NONE(cuModuleUnload) NONE(cuOccupancyMaxPotentialClusterSize) NONE(cuStreamGetCtx) NONE(cuTensorMapEncodeIm2col)
NONE(cuTensorMapEncodeTiled)

int cuDriverGetVersion(int* version) {
    *version = 12090;
    return 0;
}

int cuGetProcAddress_v2(const char* name, void** found, int version, unsigned long long flags, void* status) {
    *found = 0;
    return 500;
}

int cuGetProcAddress(const char* name, void** found, int version, unsigned long long flags) {
    *found = 0;
    return 500;
}
