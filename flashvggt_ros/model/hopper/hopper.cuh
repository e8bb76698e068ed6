// What kernels for Hopper GPUs (compute capability 9.0) are made of: barriers and copies; products
// are in wgmma.cuh.
//
// PTX ISA 8.0: mbarrier, cp.async.bulk.tensor. Nothing is included, so that NVRTC needs no
// headers. Addresses of shared memory are 32-bit numbers in the window of this block.

typedef unsigned int u32;
typedef unsigned long long u64;

// A tile's place in global memory, encoded by the driver (CUtensorMap).
struct alignas(64) TensorMap {
  u64 words[16];
};

__device__ __forceinline__ u32 shared_address(const void *pointer) {
  return static_cast<u32>(__cvta_generic_to_shared(pointer));
}

__device__ __forceinline__ u32 cluster_rank() {
  u32 rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

// All threads of all blocks of the cluster meet; what was written before is seen after.
__device__ __forceinline__ void cluster_sync() {
  asm volatile("barrier.cluster.arrive.release.aligned;\n"
               "barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// The threads of one group of four warps meet; barrier 0 belongs to __syncthreads.
__device__ __forceinline__ void group_sync(u32 group) {
  asm volatile("bar.sync %0, 128;" ::"r"(group + 1) : "memory");
}

template <u32 COUNT> __device__ __forceinline__ void raise_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(COUNT));
}

template <u32 COUNT> __device__ __forceinline__ void lower_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(COUNT));
}

// Shared memory written by ordinary stores is from here on seen by copies and products.
__device__ __forceinline__ void fence_shared() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

__device__ __forceinline__ void init_barrier(u32 barrier, u32 arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals));
}

// Barriers just initialized are seen by all blocks of the cluster after the next cluster_sync.
__device__ __forceinline__ void fence_barriers() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

__device__ __forceinline__ void arrive(u32 barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

// Arrive at the barrier in the same place of another block of the cluster. Without
// .release.cluster, which is a fence for all of the GPU's memory: products have only read.
__device__ __forceinline__ void arrive_at(u32 barrier, u32 rank) {
  asm volatile("{\n"
               ".reg .b32 there;\n"
               "mapa.shared::cluster.u32 there, %0, %1;\n"
               "mbarrier.arrive.shared::cluster.b64 _, [there];\n"
               "}" ::"r"(barrier), "r"(rank) : "memory");
}

// Tell the loaders of both blocks of a cluster that this warp has read a place.
__device__ __forceinline__ void release(u32 barrier) {
  const u32 rank = threadIdx.x % 32;
  if (rank < 2) arrive_at(barrier, rank);
}

// Arrive, and let the barrier wait for so many bytes.
__device__ __forceinline__ void expect(u32 barrier, u32 bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}

// Wait for the end of the phase of this parity. Without .acquire.cluster, which invalidates the L1
// cache each time: what is awaited was written by copies, whose bytes the barrier counts, by this
// block's threads, or only read.
__device__ __forceinline__ void wait(u32 barrier, u32 parity) {
  asm volatile("{\n"
               ".reg .pred done;\n"
               "again:\n"
               "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
               "@done bra end;\n"
               "bra again;\n"
               "end:\n"
               "}" ::"r"(barrier), "r"(parity) : "memory");
}

// Copy a tile of a 4-D tensor, last axis first, into shared memory; counted by the barrier.
__device__ __forceinline__ void load_tile(u32 target, const TensorMap *map, u32 barrier, int x,
                                          int y, int z, int w) {
  asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
               "[%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(target), "l"(map), "r"(barrier), "r"(x),
               "r"(y), "r"(z), "r"(w) : "memory");
}

// The same into the same place of all blocks in the mask, counted by the barrier of each.
__device__ __forceinline__ void load_tile_for(unsigned short mask, u32 target, const TensorMap *map,
                                              u32 barrier, int x, int y, int z, int w) {
  asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
               ".multicast::cluster [%0], [%1, {%3, %4, %5, %6}], [%2], %7;" ::"r"(target),
               "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z), "r"(w), "h"(mask) : "memory");
}

// Copy a tile from shared memory; what lies beyond the tensor is not stored.
__device__ __forceinline__ void store_tile(const TensorMap *map, u32 source, int x, int y, int z,
                                           int w) {
  asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group "
               "[%0, {%2, %3, %4, %5}], [%1];" ::"l"(map), "r"(source), "r"(x), "r"(y), "r"(z),
               "r"(w) : "memory");
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}

// A place in a ring of STAGES; the phase changes with each round.
template <u32 STAGES> struct RingPlace {
  u32 stage = 0, phase = 0;

  __device__ __forceinline__ void advance() {
    const bool is_round = stage == STAGES - 1;
    stage = is_round ? 0 : stage + 1;
    phase ^= is_round;
  }
};

// Wait until all but so many of this thread's stores have read shared memory.
template <int PENDING> __device__ __forceinline__ void wait_stores_read() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(PENDING) : "memory");
}

template <int PENDING> __device__ __forceinline__ void wait_stores() {
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(PENDING) : "memory");
}

__device__ __forceinline__ void store_shared(u32 address, u32 value) {
  asm volatile("st.shared.u32 [%0], %1;" ::"r"(address), "r"(value) : "memory");
}

// Two numbers rounded to bfloat16, the first one in the lower half.
__device__ __forceinline__ u32 pack(float low, float high) {
  u32 both;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
}

// 2^x
__device__ __forceinline__ float power(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

// 1 / x; a division would be a call, around which products could not go on.
__device__ __forceinline__ float inverse(float x) {
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

// The sum of what four neighboring threads hold, which have a row of a product together.
__device__ __forceinline__ float sum_of_four(float x) {
  x += __shfl_xor_sync(~0u, x, 1);
  return x + __shfl_xor_sync(~0u, x, 2);
}
