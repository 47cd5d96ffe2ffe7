"""Descriptions of GPUs for cuDNN, which can plan products with them without a GPU."""

from typing import Any

KIB = 1024
COMMON: dict[str, Any] = {
    "driverVer": 12090,
    "maxGridSize": [2**31 - 1, 65535, 65535],
    "maxBlockSize": [1024, 1024, 64],
    "regsPerBlock": 65536,
    "smCountOrigin": 0,
    "warpSize": 32,
    "maxSharedMemoryPerBlock": 48 * KIB,
    "reservedSharedMemoryPerBlock": KIB,
    "maxRegistersPerSM": 65536,
    "pciDeviceId": 0,
    "maxCtasPerSM": 32,
    "maxThreadsPerBlock": 1024,
    "maxThreadsPerSM": 2048,
    "isTccDriver": 0,
    "supportCoopLaunch": 1,
    "oversizedSharedMemoryPerBlock": 0,
    "memClockRateKHz": 2619000,
    "cudaDeviceId": 0,
    "totalGlobalMem": 80 << 30,
}


def card(name: str, capability: int, processors: int, shared_kib: int, cache_mib: int, mhz: int) -> dict[str, Any]:
    """Return the description of a GPU."""
    return COMMON | {
        "deviceName": name,
        "deviceVer": capability,
        "multiProcessorCount": processors,
        "maxSharedMemoryPerSM": shared_kib * KIB,
        "sharedMemoryPerSM": shared_kib * KIB,
        "maxSharedMemoryPerBlockOptin": (shared_kib - 1) * KIB,
        "l2CacheSize": cache_mib << 20,
        "memoryBusWidth": 8192 if capability >= 1000 else 5120,
        "smClockRateKHz": mhz * 1000,
    }


CARDS = {
    "a100": card("NVIDIA A100-SXM4-80GB", 800, 108, 164, 40, 1410),
    "h100": card("NVIDIA H100 80GB HBM3", 900, 132, 228, 50, 1980),
    "b200": card("NVIDIA B200", 1000, 148, 228, 126, 1980),
}
