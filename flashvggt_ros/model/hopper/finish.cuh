// What comes after the sums of a linear layer; see product.cu. Behind hopper.cuh.
//
// FINISH 0: only the bias is added. 1: then GELU. 2: outputs are queries, keys and values of heads
// of 64 channels; heads of queries and keys are layer-normed and rotated. 3: outputs are scaled by
// channel and added to what is there, in float16.
//
// Sums are in float16; where they are to be scaled a 64th of them is, as they may be larger than
// the stream that they are added to. They lie in slices: 64 rows of 64 outputs, 128 bytes,
// swizzled. A warp takes 8 rows of 256 outputs, and leaves results where sums were.

constexpr int GROUPS = 2;
constexpr int ROWS = 64;              // of a group
constexpr int OUTPUTS = 256;          // of an item
constexpr int SLICES = OUTPUTS / 64;  // of a group
constexpr u32 SLICE_BYTES = ROWS * 128;
constexpr float SHRINK = FINISH == 3 ? 1.0f / 64 : 1.0f;

struct After {
  // FINISH 2
  const float *norm;  // (2, 2, 64): weights of queries and of keys, then biases
  const float *cos;   // (period, 64)
  const float *sin;
  float eps;
  int period;  // of rows
  int first;   // of all outputs, (queries, keys, values), the first one here
  int count;   // of queries, and of keys
  // FINISH 3
  const unsigned short *stream;
  const float *gamma;
};

struct alignas(8) Two {
  u32 x[2];
};

struct alignas(16) Four {
  u32 x[4];
};

__device__ __forceinline__ Two load_two(u32 place) {
  Two two;
  asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(two.x[0]), "=r"(two.x[1]) : "r"(place));
  return two;
}

__device__ __forceinline__ void store_two(u32 place, const Two &two) {
  asm volatile("st.shared.v2.u32 [%0], {%1, %2};" ::"r"(place), "r"(two.x[0]), "r"(two.x[1])
               : "memory");
}

__device__ __forceinline__ Four load_four(u32 place) {
  Four four;
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(four.x[0]), "=r"(four.x[1]), "=r"(four.x[2]), "=r"(four.x[3]) : "r"(place));
  return four;
}

__device__ __forceinline__ void store_four(u32 place, const Four &four) {
  asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(place), "r"(four.x[0]),
               "r"(four.x[1]), "r"(four.x[2]), "r"(four.x[3]) : "memory");
}

__device__ __forceinline__ u32 pack_halves(float low, float high) {
  u32 both;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
}

__device__ __forceinline__ float2 halves(u32 both) {
  float2 x;
  asm("{\n.reg .f16 low, high;\nmov.b32 {low, high}, %2;\n"
      "cvt.f32.f16 %0, low;\ncvt.f32.f16 %1, high;\n}" : "=f"(x.x), "=f"(x.y) : "r"(both));
  return x;
}

// Four numbers from global memory, from shared memory, and from bfloat16 in shared memory.
__device__ __forceinline__ void read(float (&values)[4], const float *place) {
  const float4 four = *reinterpret_cast<const float4 *>(place);
  values[0] = four.x, values[1] = four.y, values[2] = four.z, values[3] = four.w;
}

__device__ __forceinline__ void read(float (&values)[4], u32 place) {
  const Four four = load_four(place);
#pragma unroll
  for (int i = 0; i < 4; ++i) values[i] = __uint_as_float(four.x[i]);
}

__device__ __forceinline__ void read_bias(float (&values)[4], u32 place) {
  const Two two = load_two(place);
#pragma unroll
  for (int i = 0; i < 4; ++i)
    values[i] = __uint_as_float(i % 2 ? two.x[i / 2] & 0xFFFF0000u : two.x[i / 2] << 16);
}

#if FINISH == 2

// What a warp reads of an octet of rows before its sums are made: four threads take a row, each 4
// of every 16 channels of a head.
struct Ahead {
  float cos[2][4], sin[2][4];

  __device__ __forceinline__ Ahead(const After &after, int first_row, int, int, int) {
    const u32 lane = threadIdx.x % 32;
    const int place = (first_row + lane / 4) % after.period * 64 + lane % 4 * 4;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      read(cos[half], after.cos + place + 32 * half);
      read(sin[half], after.sin + place + 32 * half + 16);
    }
  }
};

// Finish 8 rows: queries, keys or values of four heads.
__device__ __forceinline__ void finish(u32 rows_place, const Ahead &ahead, int output, u32 bias,
                                       u32 more, const After &after) {
  const u32 lane = threadIdx.x % 32, quarter = lane % 4;
  const int kind = (after.first + output) / after.count;  // queries, keys, values
  const u32 line = rows_place + lane / 4 * 128 + quarter % 2 * 8;
  float x[SLICES][4][4];
#pragma unroll
  for (int h = 0; h < SLICES; ++h) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      float added[4];
      read_bias(added, bias + 2 * (h * 64 + 16 * i + 4 * quarter));
      const Two two =
          load_two(line + h * SLICE_BYTES + ((2 * i + quarter / 2) ^ (lane / 4)) * 16);
      const float2 low = halves(two.x[0]), high = halves(two.x[1]);
      x[h][i][0] = low.x + added[0], x[h][i][1] = low.y + added[1];
      x[h][i][2] = high.x + added[2], x[h][i][3] = high.y + added[3];
    }
  }
  if (kind < 2) {
    float mean[SLICES], spread[SLICES];
#pragma unroll
    for (int h = 0; h < SLICES; ++h) {
      float part[4], squares[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float(&y)[4] = x[h][i];
        part[i] = (y[0] + y[1]) + (y[2] + y[3]);
        squares[i] = y[0] * y[0] + y[1] * y[1] + (y[2] * y[2] + y[3] * y[3]);
      }
      mean[h] = (part[0] + part[1]) + (part[2] + part[3]);
      spread[h] = (squares[0] + squares[1]) + (squares[2] + squares[3]);
    }
#pragma unroll
    for (int h = 0; h < SLICES; ++h) {
      mean[h] = sum_of_four(mean[h]) * (1.0f / 64);
      spread[h] = sum_of_four(spread[h]) * (1.0f / 64) - mean[h] * mean[h];
      spread[h] = rsqrtf(fmaxf(spread[h], 0.0f) + after.eps);
      mean[h] *= -spread[h];
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      float weight[4], shift[4];
      read(weight, more + 4 * (64 * kind + 16 * i + 4 * quarter));
      read(shift, more + 4 * (128 + 64 * kind + 16 * i + 4 * quarter));
#pragma unroll
      for (int j = 0; j < 4; ++j) {
#pragma unroll
        for (int h = 0; h < SLICES; ++h)
          x[h][i][j] = (x[h][i][j] * spread[h] + mean[h]) * weight[j] + shift[j];
      }
    }
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float cos = ahead.cos[i / 2][j], sin = ahead.sin[i / 2][j];
#pragma unroll
        for (int h = 0; h < SLICES; ++h) {
          const float first = x[h][i][j], second = x[h][i + 1][j];
          x[h][i][j] = first * cos - second * sin;
          x[h][i + 1][j] = second * cos + first * sin;
        }
      }
    }
  }
#pragma unroll
  for (int h = 0; h < SLICES; ++h) {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      store_two(line + h * SLICE_BYTES + ((2 * i + quarter / 2) ^ (lane / 4)) * 16,
                {pack(x[h][i][0], x[h][i][1]), pack(x[h][i][2], x[h][i][3])});
  }
}

#else

// What a warp reads of an octet of rows before its sums are made: eight threads take two rows, each
// 8 neighbors of every 64 outputs.
struct Ahead {
  Four before[FINISH == 3 ? SLICES : 1][2];

  __device__ __forceinline__ Ahead(const After &after, int first_row, int output, int rows,
                                   int width) {
    if (FINISH != 3) return;
    const u32 lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const u64 row = min(static_cast<int>(first_row + lane / 8 + 4 * i), rows - 1);
      const unsigned short *place = after.stream + row * width + output + lane % 8 * 8;
#pragma unroll
      for (int slice = 0; slice < SLICES; ++slice)
        before[slice][i] = *reinterpret_cast<const Four *>(place + slice * 64);
    }
  }
};

// GELU in its form with tanh, at most 5e-4 off.
__device__ __forceinline__ float gelu(float x) {
  float bend;
  asm("tanh.approx.f32 %0, %1;" : "=f"(bend) : "f"(x * (0.7978845608f + 0.0356774081f * x * x)));
  const float half = 0.5f * x;
  return half + half * bend;
}

// Finish 8 rows.
__device__ __forceinline__ void finish(u32 rows_place, const Ahead &ahead, int output, u32 bias,
                                       u32 more, const After &) {
  const u32 lane = threadIdx.x % 32, chunk = lane % 8;
#pragma unroll
  for (int slice = 0; slice < SLICES; ++slice) {
    float added[2][4], gamma[2][4];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int column = slice * 64 + 8 * chunk + 4 * i;
      read_bias(added[i], bias + 2 * column);
      if (FINISH == 3) read(gamma[i], more + 4 * (output + column));
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const u32 row = lane / 8 + 4 * i;
      const u32 place = rows_place + slice * SLICE_BYTES + row * 128 + (chunk ^ row) * 16;
      Four four = load_four(place);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        float2 x = halves(four.x[j]);
        x.x = x.x / SHRINK + added[j / 2][j % 2 * 2];
        x.y = x.y / SHRINK + added[j / 2][j % 2 * 2 + 1];
        if (FINISH == 1) x.x = gelu(x.x), x.y = gelu(x.y);
        if (FINISH == 3) {
          const float2 old = halves(ahead.before[slice][i].x[j]);
          x.x = old.x + x.x * gamma[j / 2][j % 2 * 2];
          x.y = old.y + x.y * gamma[j / 2][j % 2 * 2 + 1];
        }
        four.x[j] = FINISH == 3 ? pack_halves(x.x, x.y) : pack(x.x, x.y);
      }
      store_four(place, four);
    }
  }
}

#endif
