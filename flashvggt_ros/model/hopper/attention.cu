// Attention without a running maximum; see attention.py. Behind hopper.cuh and wgmma.cuh.
//
// out (batch, length, heads, 64) = softmax(q k^T) v. IS_BOUNDED: scores
// are ready for powers of 2; otherwise they are scaled here, and the largest one of each row's
// first tile is subtracted. LAST: keys of the last tile that are multiplied.
//
// In each block one thread loads and three groups of four warps take 64 queries each. Blocks
// take work (items) one after the other; both of a cluster take neighboring rows of one head, and
// each loads half of the keys and values for both.

constexpr int GROUPS = 3;
constexpr int ROWS = 64;   // queries of one group
constexpr int TILE = 128;  // keys that are loaded and multiplied at once
constexpr int HALF = TILE / 2;  // what each block of a cluster loads of a tile
constexpr int STAGES = 4;       // tiles in shared memory
constexpr int WARPS = 4;        // of one group
constexpr float SCALE = 1.4426950408889634f / 8;  // of scores, so that powers of 2 are weights
constexpr u32 REGISTERS = 160;                    // of a thread; 65536 are there for all
constexpr u32 LOADER_REGISTERS = 32;

constexpr u32 TILE_BYTES = TILE * 128;
constexpr u32 HALF_BYTES = HALF * 128;
constexpr u32 ROWS_BYTES = ROWS * 128;

// Addresses in shared memory, from a multiple of 1024 on. Full: the place has been loaded; empty:
// it has been read, in both blocks where both load it. Queries have two places for each group.
// Launch with SHARED_BYTES, of which alignment may take 1023.
struct Memory {
  u32 start;
  static constexpr u32 V = STAGES * TILE_BYTES;
  static constexpr u32 Q = 2 * V;
  static constexpr u32 OUT = Q + 2 * GROUPS * ROWS_BYTES;
  static constexpr u32 BARRIERS = OUT + GROUPS * ROWS_BYTES;

  __device__ u32 k(u32 stage) const { return start + stage * TILE_BYTES; }
  __device__ u32 v(u32 stage) const { return start + V + stage * TILE_BYTES; }
  __device__ u32 q(u32 place) const { return start + Q + place * ROWS_BYTES; }
  __device__ u32 out(u32 group) const { return start + OUT + group * ROWS_BYTES; }
  __device__ u32 barrier(u32 number) const { return start + BARRIERS + 8 * number; }
  __device__ u32 k_full(u32 stage) const { return barrier(stage); }
  __device__ u32 v_full(u32 stage) const { return barrier(STAGES + stage); }
  __device__ u32 empty(u32 stage) const { return barrier(2 * STAGES + stage); }
  __device__ u32 q_full(u32 place) const { return barrier(3 * STAGES + place); }
  __device__ u32 q_empty(u32 place) const { return barrier(3 * STAGES + 2 * GROUPS + place); }
};
constexpr u32 SHARED_BYTES = 1023 + Memory::BARRIERS + 8 * (3 * STAGES + 4 * GROUPS);
static_assert(SHARED_BYTES <= 232448, "more than a block can have");

using Place = RingPlace<STAGES>;  // of tiles

// Which rows of queries an item is for one block.
struct Item {
  int batch, head, row;

  __device__ __forceinline__ Item(int item, int heads, int blocks, u32 rank) {
    const int pair = item / blocks;
    batch = pair / heads;
    head = pair % heads;
    row = (item % blocks * 2 + rank) * (GROUPS * ROWS);
  }
};

// Begin to multiply queries with the first keys of a tile.
template <int COUNT>
__device__ __forceinline__ void begin_scores(float (&s)[COUNT], u32 q, u32 k) {
#pragma unroll
  for (int step = 0; step < 4; ++step)
    multiply(s, behind(matrix(q), 32 * step), behind(matrix(k), 32 * step), step > 0);
  commit_products();
}

// Begin to add the first values of a tile, weighted.
template <int STEPS>
__device__ __forceinline__ void begin_values(float (&o)[32], const u32 (&weights)[STEPS][4],
                                             u32 v) {
#pragma unroll
  for (int step = 0; step < STEPS; ++step)
    multiply_rows(o, weights[step], behind(matrix(v), 2048 * step));
  commit_products();
}

// Registers that products read or change are complete, or free again. Weights, too: the compiler
// must not move their making behind the products' begin, nor use their registers before the end.
template <int STEPS>
__device__ __forceinline__ void touch_both(float (&o)[32], u32 (&weights)[STEPS][4]) {
  touch(o);
#pragma unroll
  for (int step = 0; step < STEPS; ++step) touch(weights[step]);
}

// Weights of scores, rounded, as products read them; `sums` are those of this thread's two rows,
// two for each. Element i of s is in row i / 2 % 2 of the two.
template <int STEPS>
__device__ __forceinline__ void weigh(float (&s)[8 * STEPS], const float (&shift)[2],
                                      float (&sums)[4], u32 (&weights)[STEPS][4]) {
#pragma unroll
  for (int i = 0; i < 8 * STEPS; i += 2) {
#pragma unroll
    for (int j = i; j < i + 2; ++j) {
      s[j] = power(IS_BOUNDED ? s[j] : s[j] * SCALE - shift[j / 2 % 2]);
      sums[j % 4] += s[j];
    }
    weights[i / 8][i / 2 % 4] = pack(s[i], s[i + 1]);
  }
}

// Add the values of the tile at `place`, score the next one's keys, and make weights of these.
template <int STEPS>
__device__ __forceinline__ void step_on(const Memory &memory, Place &place, u32 q, float (&o)[32],
                                        u32 (&weights)[STEPS][4], const float (&shift)[2],
                                        float (&sums)[4], u32 (&next)[TILE / 16][4]) {
  const u32 stage = place.stage;
  wait(memory.v_full(stage), place.phase);
  touch_both(o, weights);
  begin_products();
  begin_values(o, weights, memory.v(stage));
  place.advance();
  wait(memory.k_full(place.stage), place.phase);
  float s[TILE / 2];
  begin_products();
  begin_scores(s, q, memory.k(place.stage));
  wait_products<0>();
  touch_both(o, weights);
  touch(s);
  release(memory.empty(stage));
  weigh(s, shift, sums, next);
}

// Add the last values of an item, weighted.
template <int STEPS>
__device__ __forceinline__ void add_last(const Memory &memory, const Place &place, float (&o)[32],
                                         u32 (&weights)[STEPS][4]) {
  wait(memory.v_full(place.stage), place.phase);
  touch_both(o, weights);
  begin_products();
  begin_values(o, weights, memory.v(place.stage));
  wait_products<0>();
  touch_both(o, weights);
}

// The largest one of what the four threads of a row hold.
__device__ __forceinline__ float row_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
  return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
}

// Attend with the queries at q to tiles from `place` on: o is what is to be divided by `total`.
__device__ __forceinline__ void attend_rows(const Memory &memory, Place &place, u32 q, int keys,
                                            float (&o)[32], float (&total)[2]) {
  const int tiles = (keys + TILE - 1) / TILE;
#pragma unroll
  for (int i = 0; i < 32; ++i) o[i] = 0.0f;
  float s[LAST / 2];
  wait(memory.k_full(place.stage), place.phase);
  begin_products();
  begin_scores(s, q, memory.k(place.stage));
  wait_products<0>();
  touch(s);
  const int limit = keys - (tiles - 1) * TILE - 2 * (threadIdx.x % 4);  // from this thread's first
  const float least = __int_as_float(0xFF800000);               // minus infinity
  float largest[2] = {least, least};
#pragma unroll
  for (int i = 0; i < LAST / 2; ++i) {
    if (i / 4 * 8 + i % 2 >= limit) s[i] = least;
    largest[i / 2 % 2] = fmaxf(largest[i / 2 % 2], s[i]);
  }
  float shift[2] = {};
  if (!IS_BOUNDED) {
    shift[0] = row_max(largest[0]) * SCALE;
    shift[1] = row_max(largest[1]) * SCALE;
  }
  float sums[4] = {};
  u32 first[LAST / 16][4];
  weigh(s, shift, sums, first);
  if (tiles == 1) {
    add_last(memory, place, o, first);
  } else {
    u32 weights[TILE / 16][4];
    step_on(memory, place, q, o, first, shift, sums, weights);
#pragma unroll 1
    for (int tile = 2; tile < tiles; ++tile)
      step_on(memory, place, q, o, weights, shift, sums, weights);
    add_last(memory, place, o, weights);
  }
  release(memory.empty(place.stage));
  place.advance();
  total[0] = sum_of_four(sums[0] + sums[1]);
  total[1] = sum_of_four(sums[2] + sums[3]);
}

// Write results of a group to its place in shared memory, swizzled as copies read it.
__device__ __forceinline__ void write_rows(u32 out, const float (&o)[32], const float (&total)[2]) {
  const u32 row = threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float factor = inverse(total[half]);
#pragma unroll
    for (int i = 0; i < 8; ++i)
      store_shared(out + (row + 8 * half) * 128 + (i ^ row % 8) * 16 + threadIdx.x % 4 * 4,
                   pack(o[4 * i + 2 * half] * factor, o[4 * i + 2 * half + 1] * factor));
  }
}

// Load the tiles of each item, the last one first: that alone may be partial. Of each tile this
// block loads one half, for both. The other block's half may come before this one expects it: the
// phase's count of bytes is then below zero for a time, but the phase cannot end before this
// block arrives. Nor can that half come before the phase before has ended here: the other one
// waits for the warps of both blocks to release the place, which they do after both full barriers.
__device__ __forceinline__ void load(const Memory &memory, const TensorMap *q, const TensorMap *k,
                                     const TensorMap *v, int keys, int heads, int blocks,
                                     int items) {
  const int tiles = (keys + TILE - 1) / TILE;
  const u32 rank = cluster_rank();
  Place place;
  u32 round = 0;
  for (int number = blockIdx.x / 2; number < items; number += gridDim.x / 2, ++round) {
    const Item item(number, heads, blocks, rank);
#pragma unroll
    for (int group = 0; group < GROUPS; ++group) {  // zeros, where rows are beyond the end
      const u32 q_place = round % 2 * GROUPS + group;
      wait(memory.q_empty(q_place), round / 2 & 1 ^ 1);
      expect(memory.q_full(q_place), ROWS_BYTES);
      load_tile(memory.q(q_place), q, memory.q_full(q_place), 0, item.head,
                item.row + group * ROWS, item.batch);
    }
#pragma unroll 1
    for (int tile = tiles - 1; tile >= 0; --tile) {
      const u32 stage = place.stage;
      const int key = tile * TILE + rank * HALF;
      wait(memory.empty(stage), place.phase ^ 1);
      expect(memory.k_full(stage), TILE_BYTES);
      load_tile_for(3, memory.k(stage) + rank * HALF_BYTES, k, memory.k_full(stage), 0, key,
                    item.head, item.batch);
      expect(memory.v_full(stage), TILE_BYTES);
      load_tile_for(3, memory.v(stage) + rank * HALF_BYTES, v, memory.v_full(stage), 0, key,
                    item.head, item.batch);
      place.advance();
    }
  }
}

// Attend with one group's queries of each item.
__device__ __forceinline__ void attend_group(const Memory &memory, u32 group, const TensorMap *out,
                                             int keys, int length, int heads, int blocks,
                                             int items) {
  const int tiles = (keys + TILE - 1) / TILE;
  const u32 rank = cluster_rank();
  const bool is_first = threadIdx.x % 128 == 0;  // which stores
  Place place;
  u32 round = 0;
  for (int number = blockIdx.x / 2; number < items; number += gridDim.x / 2, ++round) {
    const Item item(number, heads, blocks, rank);
    const int row = item.row + group * ROWS;
    const u32 q_place = round % 2 * GROUPS + group;
    const bool is_beyond = row >= length;
    float o[32], total[2];
    wait(memory.q_full(q_place), round / 2 & 1);
    if (is_beyond) {  // there is nothing to do, but the ring goes on
#pragma unroll 1
      for (int tile = 0; tile < tiles; ++tile, place.advance()) {
        wait(memory.k_full(place.stage), place.phase);
        wait(memory.v_full(place.stage), place.phase);
        release(memory.empty(place.stage));
      }
    } else {
      attend_rows(memory, place, memory.q(q_place), keys, o, total);
    }
    if (threadIdx.x % 32 == 0) arrive(memory.q_empty(q_place));
    if (is_beyond) continue;
    if (is_first) wait_stores_read<0>();  // of the item before
    group_sync(group);
    write_rows(memory.out(group), o, total);
    fence_shared();
    group_sync(group);
    if (is_first) store_tile(out, memory.out(group), 0, item.head, row, item.batch);
  }
  if (is_first) wait_stores<0>();
}

extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(128 * (GROUPS + 1), 1)
attention(const __grid_constant__ TensorMap q, const __grid_constant__ TensorMap k,
          const __grid_constant__ TensorMap v, const __grid_constant__ TensorMap out, int keys,
          int length, int heads, int blocks, int items) {
  extern __shared__ char shared[];
  const Memory memory{(shared_address(shared) + 1023) & ~1023u};
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < STAGES; ++stage) {
      init_barrier(memory.k_full(stage), 1);
      init_barrier(memory.v_full(stage), 1);
      init_barrier(memory.empty(stage), 2 * GROUPS * WARPS);
    }
    for (int place = 0; place < 2 * GROUPS; ++place) {
      init_barrier(memory.q_full(place), 1);
      init_barrier(memory.q_empty(place), WARPS);
    }
    fence_barriers();
  }
  __syncwarp();
  cluster_sync();
  const u32 group = __shfl_sync(~0u, threadIdx.x / 128, 0);  // alike for all of a warp
  if (group == GROUPS) {
    lower_registers<LOADER_REGISTERS>();
    if (threadIdx.x == 128 * GROUPS) load(memory, &q, &k, &v, keys, heads, blocks, items);
  } else {
    raise_registers<REGISTERS>();
    attend_group(memory, group, &out, keys, length, heads, blocks, items);
  }
  __syncwarp();
  cluster_sync();  // neither block ends while the other one loads for it or arrives
}
