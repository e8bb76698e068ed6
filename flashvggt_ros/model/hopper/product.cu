// A linear layer and what comes after it; see products.py. Behind hopper.cuh, wgmma.cuh and
// finish.cuh.
//
// Clusters of two blocks take 2 x 128 rows and the same 256 outputs, one such item after the
// other; each block loads half of the weights for both. One warp loads, two groups of four warps
// multiply 64 rows each, leave their sums in shared memory and go on with the next item, while
// three warps finish these, 8 rows at a time.

constexpr int INNER = 64;     // channels that are loaded at once
constexpr int STAGES = 3;
constexpr int FINISHERS = 3;  // warps
constexpr int OCTETS = ROWS / 8;  // of rows, of a group
constexpr u32 X_BYTES = GROUPS * ROWS * INNER * 2;
constexpr u32 WEIGHT_BYTES = OUTPUTS * INNER * 2;
constexpr u32 STAGE_BYTES = X_BYTES + WEIGHT_BYTES;
constexpr u32 RELEASES = 2 * GROUPS * 4;  // of a stage: by each warp of both blocks

// Where things are in shared memory, from a multiple of 1024 on. A stage is full or empty, a
// group's sums are made or taken.
struct Memory {
  u32 start;
  static constexpr u32 SUMS = STAGES * STAGE_BYTES;
  static constexpr u32 BARRIERS = SUMS + GROUPS * SLICES * SLICE_BYTES;

  __device__ u32 x(u32 stage) const { return start + stage * STAGE_BYTES; }
  __device__ u32 weights(u32 stage) const { return x(stage) + X_BYTES; }
  __device__ u32 slice(u32 number) const { return start + SUMS + number * SLICE_BYTES; }
  __device__ u32 full(u32 stage) const { return start + BARRIERS + 8 * stage; }
  __device__ u32 empty(u32 stage) const { return full(STAGES + stage); }
  __device__ u32 made(u32 group) const { return full(2 * STAGES + group); }
  __device__ u32 taken(u32 group) const { return full(2 * STAGES + GROUPS + group); }
  // In bfloat16, of all outputs; then in float32 weights and biases of norms, or gamma.
  __device__ u32 bias(int output) const { return start + CONSTANTS + 2 * output; }
  static constexpr u32 CONSTANTS = BARRIERS + 8 * (2 * STAGES + 2 * GROUPS);
};
static_assert(Memory::CONSTANTS % 16 == 0, "vectors are read from there");

using Place = RingPlace<STAGES>;

// What part of the layer an item is for one block. All outputs of the same rows come in turn, from
// another one on each time, so that each cluster gets some of all kinds.
struct Item {
  int row, output;

  __device__ __forceinline__ Item(int item, int columns, u32 rank) {
    const int rows = item / columns;
    row = (rows * 2 + rank) * (GROUPS * ROWS);
    output = (item + rows) % columns * OUTPUTS;
  }
};

// Leave a group's sums in its slices: four matrices of 8 rows of 8 at once.
__device__ __forceinline__ void leave(const float (&sums)[OUTPUTS / 2], u32 slices) {
  const u32 lane = threadIdx.x % 32;
  const u32 row = threadIdx.x % 128 / 32 * 16 + lane % 16;
  const u32 place = slices + row * 128;
#pragma unroll
  for (int i = 0; i < OUTPUTS / 16; ++i) {
    const u32 chunk = 2 * (i % 4) + lane / 16;
    const float *s = sums + 8 * i;
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::
                 "r"(place + i / 4 * SLICE_BYTES + (chunk ^ (row & 7)) * 16),
                 "r"(pack_halves(SHRINK * s[0], SHRINK * s[1])),
                 "r"(pack_halves(SHRINK * s[2], SHRINK * s[3])),
                 "r"(pack_halves(SHRINK * s[4], SHRINK * s[5])),
                 "r"(pack_halves(SHRINK * s[6], SHRINK * s[7])) : "memory");
  }
}

__device__ __forceinline__ void load(const Memory &memory, const TensorMap *x,
                                     const TensorMap *weight, int steps, int columns, int items) {
  const u32 rank = cluster_rank();
  Place place;
  for (int number = blockIdx.x / 2; number < items; number += gridDim.x / 2) {
    const Item item(number, columns, rank);
    for (int step = 0; step < steps; ++step, place.advance()) {
      const u32 full = memory.full(place.stage);
      wait(memory.empty(place.stage), place.phase ^ 1);
      expect(full, STAGE_BYTES);
      load_tile(memory.x(place.stage), x, full, step * INNER, item.row, 0, 0);
      load_tile_for(3, memory.weights(place.stage) + rank * (WEIGHT_BYTES / 2), weight, full,
                    step * INNER, item.output + rank * (OUTPUTS / 2), 0, 0);
    }
  }
}

// Begin to multiply a stage's channels; sums begin anew, or go on.
__device__ __forceinline__ void begin_stage(const Memory &memory, const Place &place, u32 group,
                                            float (&sums)[OUTPUTS / 2], bool is_added) {
  const u64 x = matrix(memory.x(place.stage) + group * (X_BYTES / GROUPS));
  const u64 weights = matrix(memory.weights(place.stage));
  wait(memory.full(place.stage), place.phase);
  begin_products();
#pragma unroll
  for (int k = 0; k < INNER / 16; ++k)
    multiply(sums, x + 2 * k, weights + 2 * k, is_added || k > 0);
  commit_products();
}

__device__ __forceinline__ void multiply_group(const Memory &memory, u32 group, int steps,
                                               int items) {
  const u32 lane = threadIdx.x % 32;
  Place place;
  u32 parity = 0;
  for (int number = blockIdx.x / 2; number < items; number += gridDim.x / 2, parity ^= 1) {
    float sums[OUTPUTS / 2];
    touch(sums);
    begin_stage(memory, place, group, sums, false);
    u32 before = memory.empty(place.stage);
    place.advance();
    for (int step = 1; step < steps; ++step, place.advance()) {
      begin_stage(memory, place, group, sums, true);
      wait_products<1>();
      release(before);
      before = memory.empty(place.stage);
    }
    wait_products<0>();
    touch(sums);
    release(before);
    wait(memory.taken(group), parity ^ 1);
    leave(sums, memory.slice(group * SLICES));
    __syncwarp();
    if (lane == 0) arrive(memory.made(group));
  }
}

// Finish every so many octets of each item's rows. What is read ahead is used one octet later, and
// the place of sums is free once the copy engine has read it, which is seen one octet later, too.
__device__ __forceinline__ void finish_octets(const Memory &memory, int first,
                                              const TensorMap *out, int rows, int columns,
                                              int items, const After &after) {
  const u32 rank = cluster_rank();
  const bool is_first = threadIdx.x % 32 == 0;
  const int width = columns * OUTPUTS, clusters = gridDim.x / 2;
  int number = blockIdx.x / 2, octet = first, stored = -1;
  u32 parity = 0;
  Item item(number, columns, rank);
  Ahead ahead(after, item.row + octet * 8, item.output, rows, width);
  while (number < items) {
    const Ahead now = ahead;
    const Item here = item;
    const int group = octet / OCTETS, row = octet * 8;
    const u32 place = memory.slice(group * SLICES) + octet % OCTETS * 1024;
    const u32 made = parity;
    octet += FINISHERS;
    if (octet >= GROUPS * OCTETS) {
      octet = first;
      number += clusters;
      parity ^= 1;
      item = Item(number, columns, rank);
    }
    ahead = Ahead(after, item.row + octet * 8, item.output, rows, width);
    wait(memory.made(group), made);
    finish(place, now, here.output, memory.bias(here.output), memory.bias(width), after);
    fence_shared();
    __syncwarp();
    if (is_first) {
#pragma unroll
      for (int slice = 0; slice < SLICES; ++slice)
        store_tile(out, place + slice * SLICE_BYTES, here.output + slice * 64, here.row + row, 0,
                   0);
      if (stored >= 0) {
        wait_stores_read<SLICES>();
        arrive(memory.taken(stored));
      }
      stored = group;
      if (octet == first) {  // the item's last one is over
        wait_stores_read<0>();
        arrive(memory.taken(stored));
        stored = -1;
      }
    }
  }
  if (is_first) wait_stores<0>();
}

// Copy words to shared memory, all threads together.
__device__ __forceinline__ void fill(u32 place, const u32 *words, int count) {
  for (int i = threadIdx.x; i < count; i += blockDim.x) store_shared(place + 4 * i, words[i]);
}

extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(128 * (GROUPS + 1), 1)
product(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap weight,
        const __grid_constant__ TensorMap out, const unsigned short *bias, int rows, int inner,
        int columns, int items, const __grid_constant__ After after) {
  extern __shared__ unsigned char shared[];
  const Memory memory{(shared_address(shared) + 1023) & ~1023u};
  if (threadIdx.x == 0) {
    for (u32 stage = 0; stage < STAGES; ++stage) {
      init_barrier(memory.full(stage), 1);
      init_barrier(memory.empty(stage), RELEASES);
    }
    for (u32 group = 0; group < GROUPS; ++group) {
      init_barrier(memory.made(group), 4);
      init_barrier(memory.taken(group), OCTETS);
    }
    fence_barriers();
  }
  fill(memory.bias(0), reinterpret_cast<const u32 *>(bias), columns * OUTPUTS / 2);
  if (FINISH == 2) {
    fill(memory.bias(columns * OUTPUTS), reinterpret_cast<const u32 *>(after.norm), 256);
  } else if (FINISH == 3) {
    fill(memory.bias(columns * OUTPUTS), reinterpret_cast<const u32 *>(after.gamma),
         columns * OUTPUTS);
  }
  __syncthreads();
  cluster_sync();
  const u32 warp = __shfl_sync(~0u, threadIdx.x / 32, 0);  // alike for all of a warp
  if (warp < 4 * GROUPS) {
    raise_registers<184>();
    multiply_group(memory, warp / 4, inner / INNER, items);
  } else {
    lower_registers<136>();
    if (warp > 4 * GROUPS) {
      finish_octets(memory, warp - 4 * GROUPS - 1, &out, rows, columns, items, after);
    } else if (threadIdx.x % 32 == 0) {
      load(memory, &x, &weight, inner / INNER, columns, items);
    }
  }
  __syncwarp();
  cluster_sync();  // neither block ends while the other one loads for it or arrives
}
