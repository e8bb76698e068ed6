"""The kernel of attention_hopper, in Gluon.

One warp loads tiles of keys and values, and queries where they come as they are; three groups of
four warps take 64 queries each, norm and rotate them, and then in turn multiply and take
exponentials, each while others do the other. Programs take blocks of queries one after the other,
so that none waits for another's end.
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_init,
    warpgroup_mma_wait,
)
from triton.language.core import _aggregate as aggregate

from flashvggt_ros.model.attention_hopper_queries import CHANNELS, ROWS, SCALE, Queries, turn_rows

GROUPS = gl.constexpr(3)
TILE = gl.constexpr(128)  # keys that are loaded and multiplied at once
TURNED_STAGES = gl.constexpr(5)  # tiles in shared memory
RAW_STAGES = gl.constexpr(4)  # the same where queries are loaded ahead
REGISTERS = gl.constexpr(160)  # of a thread; 65536 are there for all
LOADER_REGISTERS = gl.constexpr(24)


@aggregate
class _Ring:
    """Places in shared memory that one warp fills and groups of warps read, in turn."""

    places: gl.shared_memory_descriptor
    full: gl.shared_memory_descriptor

    @gluon.constexpr_function
    def __init__(self, places, full):
        self.places, self.full = places, full


@aggregate
class _Work:
    """What all warps of a program share: buffers, and which blocks of queries are to be done.

    ``empty``: tells that keys and values of a place have been read, ``q_empty`` of queries.
    ``items`` are blocks of all heads of all sequences, of which a program takes one in so many.
    ``last``: keys of each item's last tile that are multiplied.
    """

    q_tiles: tma.tensor_descriptor
    k_tiles: tma.tensor_descriptor
    v_tiles: tma.tensor_descriptor
    out_tiles: tma.tensor_descriptor
    q: _Ring
    k: _Ring
    v: _Ring
    q_empty: gl.shared_memory_descriptor
    empty: gl.shared_memory_descriptor
    out: gl.shared_memory_descriptor
    length: gl.tensor
    keys: gl.tensor
    heads: gl.constexpr
    blocks: gl.tensor
    items: gl.tensor
    stages: gl.constexpr
    is_turned: gl.constexpr
    last: gl.constexpr

    @gluon.constexpr_function
    def __init__(self, q_tiles, k_tiles, v_tiles, out_tiles, q, k, v, q_empty, empty, out, length,
                 keys, heads, blocks, items, stages, is_turned, last):
        self.q_tiles, self.k_tiles, self.v_tiles = q_tiles, k_tiles, v_tiles
        self.out_tiles, self.q, self.k, self.v, self.out = out_tiles, q, k, v, out
        self.q_empty, self.empty, self.length, self.keys = q_empty, empty, length, keys
        self.heads, self.blocks, self.items = gl.constexpr(heads), blocks, items
        self.stages, self.is_turned = gl.constexpr(stages), gl.constexpr(is_turned)
        self.last = gl.constexpr(last)


@gluon.jit(do_not_specialize=["period", "length", "keys", "blocks", "items"])
def attend_kernel(q, batch_stride, row_stride, weight, bias, eps, cos, sin, period, q_tiles,
                  k_tiles, v_tiles, out_tiles, length, keys, blocks, items, heads: gl.constexpr,
                  IS_TURNED: gl.constexpr, LAST: gl.constexpr):
    """See attention_hopper."""
    stages: gl.constexpr = TURNED_STAGES if IS_TURNED else RAW_STAGES
    held: gl.constexpr = GROUPS if IS_TURNED else 2 * GROUPS
    queries = Queries(q, batch_stride, row_stride, weight, bias, eps, cos, sin, period)
    out = gl.allocate_shared_memory(gl.bfloat16, [GROUPS, 1, ROWS, 1, CHANNELS], out_tiles.layout)
    work = _Work(
        q_tiles, k_tiles, v_tiles, out_tiles, _ring(q_tiles, held), _ring(k_tiles, stages),
        _ring(v_tiles, stages), _barriers(held, 1), _barriers(stages, GROUPS), out, length, keys,
        heads, blocks, items, stages, IS_TURNED, LAST,
    )
    fence_async_shared()
    gl.warp_specialize(
        [(_attend_first, (work, queries)), (_attend_second, (work, queries)),
         (_attend_third, (work, queries)), (_load, (work,))],
        [4, 4, 1],
        [REGISTERS, REGISTERS, LOADER_REGISTERS],
    )


@gluon.jit
def _ring(tiles, count: gl.constexpr):
    """Make a ring of places for one tile each."""
    shape: gl.constexpr = [count] + tiles.block_shape  # noqa: RUF005 - Gluon knows no stars
    places = gl.allocate_shared_memory(gl.bfloat16, shape, tiles.layout)
    return _Ring(places, _barriers(count, 1))


@gluon.jit
def _barriers(count: gl.constexpr, arrivals: gl.constexpr):
    barriers = gl.allocate_shared_memory(gl.int64, [count, 1], mbarrier.MBarrierLayout())
    for number in gl.static_range(count):
        mbarrier.init(barriers.index(number), count=arrivals)
    return barriers


@gluon.jit
def _load(work):
    """Load the tiles of each item, the last one first: that alone may be partial."""
    tiles = (work.keys + TILE - 1) // TILE
    stage = 0
    phase = 0
    for item in range(gl.program_id(0), work.items, gl.num_programs(0)):
        taken = item // gl.num_programs(0)
        pair = item // work.blocks
        batch = pair // work.heads
        head = pair % work.heads
        if not work.is_turned:
            for group in gl.static_range(GROUPS):
                row = (item % work.blocks * GROUPS + group) * ROWS
                number = taken % 2 * GROUPS + group
                mbarrier.wait(work.q_empty.index(number), (taken // 2) & 1 ^ 1)
                _fill(work.q, number, work.q_tiles, [batch, row, head, 0])
        for tile in range(tiles):
            place = [batch, head, (tiles - 1 - tile) * TILE, 0]
            mbarrier.wait(work.empty.index(stage), phase ^ 1)
            _fill(work.k, stage, work.k_tiles, place)
            _fill(work.v, stage, work.v_tiles, place)
            stage, phase = _next(work, stage, phase)


@gluon.jit
def _fill(ring, number, tiles, place):
    """Load a tile into a place of a ring."""
    mbarrier.expect(ring.full.index(number), tiles.block_type.nbytes)
    tma.async_copy_global_to_shared(
        tiles, place, ring.full.index(number), ring.places.index(number)
    )


@gluon.jit
def _next(work, stage, phase):
    """Go on to the next place for keys and values; the phase changes with each round."""
    is_round = stage == work.stages - 1
    return gl.where(is_round, 0, stage + 1), gl.where(is_round, phase ^ 1, phase)


@gluon.jit
def _attend_first(work, queries):
    _attend(work, queries, 0)


@gluon.jit
def _attend_second(work, queries):
    _attend(work, queries, 1)


@gluon.jit
def _attend_third(work, queries):
    _attend(work, queries, 2)


@gluon.jit
def _attend(work, queries, group):
    """Attend with one group's queries of each item."""
    stage = 0
    phase = 0
    for item in range(gl.program_id(0), work.items, gl.num_programs(0)):
        taken = item // gl.num_programs(0)
        pair = item // work.blocks
        first = (item % work.blocks * GROUPS + group) * ROWS
        place = group
        if work.is_turned:
            turn_rows(queries, work.length, work.heads, pair, first, _rows(work.q.places, place))
        else:
            place = taken % 2 * GROUPS + group
            mbarrier.wait(work.q.full.index(place), (taken // 2) & 1)
        result, stage, phase = _attend_rows(work, place, stage, phase)
        tma.store_wait(0)  # of the item before
        gl.thread_barrier()
        _rows(work.out, group).store(result)
        fence_async_shared()
        gl.thread_barrier()
        target = [pair // work.heads, first, pair % work.heads, 0]
        tma.async_copy_shared_to_global(work.out_tiles, target, work.out.index(group))
    tma.store_wait(0)


@gluon.jit
def _attend_rows(work, place, stage, phase):
    """Attend with the queries in ``place`` to tiles from ``stage`` on."""
    s_layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, TILE, 16])
    last_layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, work.last, 16])
    o_layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, CHANNELS, 16])
    row_layout: gl.constexpr = gl.SliceLayout(1, o_layout)
    q = _rows(work.q.places, place)
    tiles = (work.keys + TILE - 1) // TILE
    acc = warpgroup_mma_init(gl.zeros([ROWS, CHANNELS], gl.float32, o_layout))
    s = warpgroup_mma_wait(0, [_scores(work, q, stage, phase, work.last, last_layout)])
    key = (tiles - 1) * TILE + gl.arange(0, work.last, gl.SliceLayout(0, last_layout))
    s = gl.where((key < work.keys)[None, :], s, -float("inf"))
    shift = gl.zeros([ROWS], gl.float32, gl.SliceLayout(1, s_layout))
    if not work.is_turned:
        largest = gl.max(s, 1) * SCALE
        s = s * SCALE - largest[:, None]
        shift = gl.convert_layout(largest, gl.SliceLayout(1, s_layout))
    p = _power(s)
    total = gl.convert_layout(gl.sum(p, 1), row_layout)
    p = _as_operand(p, o_layout)
    if tiles == 1:
        mixed = warpgroup_mma_wait(0, [_add_values(work, acc, p, stage, phase, work.last)])
    else:
        acc, wide, stage, phase = _multiply(work, q, acc, p, stage, phase, work.last, s_layout)
        weights, sums = _weights(work, wide, shift, o_layout)
        for _ in range(2, tiles):
            acc, wide, stage, phase = _multiply(work, q, acc, weights, stage, phase, TILE, s_layout)
            weights, part = _weights(work, wide, shift, o_layout)
            sums += part
        mixed = warpgroup_mma_wait(0, [_add_values(work, acc, weights, stage, phase, TILE)])
        total += gl.convert_layout(gl.sum(sums, 1), row_layout)
    mbarrier.arrive(work.empty.index(stage), count=1)
    if not work.is_turned:
        mbarrier.arrive(work.q_empty.index(place), count=1)
    stage, phase = _next(work, stage, phase)
    return (mixed * (1.0 / total)[:, None]).to(gl.bfloat16), stage, phase


@gluon.jit
def _multiply(work, q, acc, p, stage, phase, keys: gl.constexpr, layout: gl.constexpr):
    """Add the values of a tile, of which so many count, and score the next one's keys."""
    stage_after, phase_after = _next(work, stage, phase)
    acc = _add_values(work, acc, p, stage, phase, keys)
    s = _scores(work, q, stage_after, phase_after, TILE, layout)
    acc, s = warpgroup_mma_wait(0, [acc, s])
    mbarrier.arrive(work.empty.index(stage), count=1)
    return warpgroup_mma_init(acc), s, stage_after, phase_after


@gluon.jit
def _scores(work, q, stage, phase, keys: gl.constexpr, layout: gl.constexpr):
    """Begin to multiply queries with the first keys of a tile."""
    mbarrier.wait(work.k.full.index(stage), phase)
    k = work.k.places.index(stage).reshape([TILE, CHANNELS]).slice(0, keys)
    zeros = gl.zeros([ROWS, keys], gl.float32, layout)
    return warpgroup_mma(q, k.permute([1, 0]), zeros, use_acc=False, is_async=True)


@gluon.jit
def _add_values(work, acc, p, stage, phase, keys: gl.constexpr):
    """Begin to add the first values of a tile, weighted."""
    mbarrier.wait(work.v.full.index(stage), phase)
    v = work.v.places.index(stage).reshape([TILE, CHANNELS]).slice(0, keys)
    return warpgroup_mma(p, v, acc, is_async=True)


@gluon.jit
def _rows(places, number):
    """Queries or results (ROWS, CHANNELS) in one place of shared memory."""
    return places.index(number).reshape([ROWS, CHANNELS])


@gluon.jit
def _weights(work, s, shift, layout: gl.constexpr):
    """Powers of scores as an operand, and sums over every eighth key, which one thread holds."""
    if not work.is_turned:
        s = s * SCALE - shift[:, None]
    p = _power(s)
    sums = gl.sum(p.reshape([s.shape[0], s.shape[1] // 8, 8]), 1)
    return _as_operand(p, layout), sums


@gluon.jit
def _as_operand(p, layout: gl.constexpr):
    """Weights rounded, in registers as a product of ``layout`` reads them."""
    return gl.convert_layout(p.to(gl.bfloat16), gl.DotOperandLayout(0, layout, 2))


@gluon.jit
def _power(s):
    """2^s."""
    return gl.inline_asm_elementwise("ex2.approx.ftz.f32 $0, $1;", "=f,f", [s], dtype=gl.float32,
                                     is_pure=True, pack=1)
