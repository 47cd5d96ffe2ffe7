"""Programs, in NumPy and compiled, compute the same as plain NumPy, on arrays with unusual memory layouts."""

import numpy as np
import pytest

from minidl.kernels.cpu import loops, program, threads
from minidl.kernels.cpu.program import PerImage, Program, Recorder

SAMPLES, CHUNK = 7, 3  # two whole chunks, and one of a single image


@pytest.fixture(params=loops.NAMES)
def compiled(request):
    """Use the loops of NumPy and of Numba in turn, with two workers."""
    loops.use(request.param)
    threads.set_workers(2)
    yield request.param
    loops.use_best()
    threads.set_workers(threads.available_cores())


def chunked(worker: int, start: int, stop: int, add) -> list[Program]:
    """Return the programs for the images start to stop in chunks; add(program) writes one."""
    whole = (stop - start) // CHUNK * CHUNK
    programs = []
    for samples, starts in ((CHUNK, range(start, start + whole, CHUNK)), (1, range(start + whole, stop))):
        if starts:
            programs.append(Program(samples, starts))
            add(programs[-1])
    return programs


def run(add, *arrays) -> None:
    Recorder().run(SAMPLES, arrays, lambda *part: chunked(*part, add))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_of_operands_per_image_and_of_others(compiled, dtype, random):
    left = random.standard_normal((4, 5)).astype(dtype)
    right = random.standard_normal((SAMPLES, 2, 6, 5)).astype(dtype).transpose(0, 1, 3, 2)
    twos, out = np.full((4, 1), 2, dtype), np.full((SAMPLES, 2, 4, 9), np.nan, dtype)

    def add(program):
        program.product(left, PerImage(right), PerImage(out[..., :6]))
        program.product(twos, PerImage(right[..., :1, :]), PerImage(out[..., :6]), accumulate=True)

    run(add, right, out)
    expected = left @ right + 2 * right[..., :1, :]
    np.testing.assert_allclose(out[..., :6], expected, rtol=0, atol=1e-5 if dtype == np.float32 else 1e-13)
    assert np.isnan(out[..., 6:]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("left_transposed, right_transposed", [(False, False), (True, False), (False, True)])
def test_a_large_product_is_computed_in_blocks(left_transposed, right_transposed, dtype, random, monkeypatch):
    """For BLAS's kernels for small products; not if right is transposed, which these kernels do not like."""
    pytest.importorskip("numba")
    from minidl.kernels.cpu.loops import numba_rows

    monkeypatch.setattr(numba_rows, "MOST_IN_PLACE", 64 * 33 * 20)

    def matrices(rows: int, columns: int, transposed: bool) -> np.ndarray:
        shape = (columns, rows + 3) if transposed else (rows, columns + 3)
        wide = random.standard_normal((SAMPLES, 2, *shape)).astype(dtype)
        return wide[..., :rows].swapaxes(2, 3) if transposed else wide[..., :columns]

    left, right = matrices(70, 33, left_transposed), matrices(33, 150, right_transposed)
    out = random.standard_normal((SAMPLES, 2, 70, 153)).astype(dtype)
    before, counts = out.copy(), set()

    def add(program):
        program.product(PerImage(left), PerImage(right), PerImage(out[..., :150]), accumulate=True)
        counts.add(len(numba_rows.rows_of(program, left.itemsize)))

    run(add, left, right, out)
    assert counts == {1 if right_transposed else 12}  # four blocks of 17 or 18 rows times three of up to 64 columns
    expected = before[..., :150] + left @ right
    np.testing.assert_allclose(out[..., :150], expected, rtol=0, atol=1e-4 if dtype == np.float32 else 1e-12)
    np.testing.assert_array_equal(out[..., 150:], before[..., 150:])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("left_transposed", [False, True])
def test_a_long_sum_of_a_small_result_is_computed_in_parts(left_transposed, dtype, random, monkeypatch):
    """The first part overwrites what was there, nan included, unless the product is added."""
    pytest.importorskip("numba")
    from minidl.kernels.cpu.loops import numba_rows

    monkeypatch.setattr(numba_rows, "MOST_IN_PLACE", 9 * 20 * 30)
    left = random.standard_normal((2, 100, 12) if left_transposed else (2, 9, 103)).astype(dtype)
    left = left[..., :9].swapaxes(1, 2) if left_transposed else left[..., :100]
    right = random.standard_normal((2, 100, 23)).astype(dtype)[..., :20]
    wide, counts = np.full((2, 2, 9, 25), np.nan, dtype), set()
    wide[1] = random.standard_normal((2, 9, 25))
    before = wide[1].copy()

    def write(worker, start, stop):
        program = Program()
        program.product(left, right, wide[0, ..., :20])
        program.product(left, right, wide[1, ..., :20], accumulate=True)
        counts.add(len(numba_rows.rows_of(program, left.itemsize)))
        return [program]

    for _ in range(2):
        Recorder().run(1, (left, right, wide), write)
    assert counts == {2 * 4}
    tolerance = 1e-4 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(wide[0, ..., :20], left @ right, rtol=0, atol=tolerance)
    np.testing.assert_allclose(wide[1, ..., :20], before[..., :20] + 2 * (left @ right), rtol=0, atol=tolerance)
    assert np.isnan(wide[0, ..., 20:]).all()
    np.testing.assert_array_equal(wide[1, ..., 20:], before[..., 20:])


@pytest.mark.parametrize("rows, columns, inner", [(0, 9, 9), (9, 0, 9), (9, 9, 0), (1, 300, 90), (300, 1, 90)])
def test_blocks_of_products_with_a_single_row_or_none(rows, columns, inner, random, monkeypatch):
    pytest.importorskip("numba")
    from minidl.kernels.cpu.loops import numba_rows

    monkeypatch.setattr(numba_rows, "MOST_IN_PLACE", 1000)
    monkeypatch.setattr(numba_rows, "_SMALL_RESULT", 100)
    left, right = random.standard_normal((rows, inner)), random.standard_normal((inner, columns))
    out = np.full((rows, columns), np.nan)

    def write(worker, start, stop):
        program = Program()
        program.product(left, right, out)
        return [program]

    Recorder().run(1, (left, right, out), write)
    np.testing.assert_allclose(out, left @ right, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows, columns", [(1, 40), (40, 1), (7, 40), (40, 15), (8, 8), (16, 16), (17, 33), (64, 48)])
def test_transposed_matrices_are_copied(compiled, rows, columns, dtype, random):
    """In blocks, of which the last overlap; with gaps between lines, and with axes of a batch."""
    source = random.standard_normal((SAMPLES, 2, columns, rows + 3)).astype(dtype)
    source[0, 0, 0, 0] = np.nan
    transposed = source[..., :rows].swapaxes(2, 3)
    wide = np.full((SAMPLES, 2, rows + 1, columns + 2), 8, dtype)

    def add(program):
        program.copy(PerImage(transposed), PerImage(wide[:, :, :rows, :columns]))

    run(add, source, wide)
    np.testing.assert_array_equal(wide[:, :, :rows, :columns], transposed)
    assert (wide[:, :, rows:] == 8).all()
    assert (wide[..., columns:] == 8).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pixels_of_images_as_rows_of_one_matrix(compiled, dtype, random):
    """Some rows of each image, as in im2col, and their transpose."""
    pixels = random.standard_normal((SAMPLES * 12, 3)).astype(dtype)
    sums = np.zeros((2, 3, 3), dtype)
    tops = np.empty((SAMPLES, 4, 3), dtype)

    def write(worker, start, stop):
        program = Program(1, range(start, stop))
        some = PerImage(pixels[4:], rows=12, extent=4)
        program.product(some._replace(transposed=True), some, sums[worker], accumulate=True)
        program.copy(some, PerImage(tops.reshape(-1, 3), rows=4))
        return [program]

    Recorder().run(SAMPLES, (pixels, sums, tops), write)
    chosen = pixels.reshape(SAMPLES, 12, 3)[:, 4:8]
    np.testing.assert_array_equal(tops, chosen)
    expected = np.einsum("spi,spj->ij", chosen, chosen)
    np.testing.assert_allclose(sums.sum(axis=0), expected, rtol=0, atol=1e-4 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_copies_and_relus_with_gaps(compiled, dtype, random):
    source = random.standard_normal((SAMPLES, 2, 3, 2, 4, 5)).astype(dtype)
    source[0, 0, 0, 0, 0, 0] = np.nan
    transposed = source.transpose(0, 5, 2, 3, 4, 1)
    wide = np.full((SAMPLES, 10, 3, 2, 4, 3), 8, dtype)
    out = wide[:, ::2, :, :, :, :2]

    def add(program):
        program.copy(PerImage(transposed), PerImage(out))
        program.copy(PerImage(transposed), PerImage(out), accumulate=True)
        program.relu(PerImage(out))

    run(add, source, out)
    np.testing.assert_array_equal(out, np.maximum(2 * transposed, 0))
    assert np.isnan(out).sum() == 1
    assert (wide[:, 1::2] == 8).all()
    assert (wide[..., 2] == 8).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [3, 16, 21])
@pytest.mark.parametrize("height, width", [(4, 3), (1, 8), (0, 2), (8, 0)])
def test_tiles_are_multiplied_from_both_sides(compiled, dtype, channels, height, width, random):
    """The overlapping tiles are some channels of wider images, and their points are not contiguous."""
    images = random.standard_normal((SAMPLES, 20, 21, channels + 2)).astype(dtype)
    images[0, 0, 0, 0] = np.nan
    down, across = random.standard_normal((5, height)).astype(dtype), random.standard_normal((2, width)).astype(dtype)
    some = images[..., :channels]
    tiles = np.lib.stride_tricks.sliding_window_view(some, (height or 1, width or 1), axis=(1, 2))[:, ::4, ::3]
    tiles = tiles.transpose(0, 1, 2, 4, 5, 3)[:, :3, :4, :height, :width]
    points = np.full((2, 5, 2, SAMPLES, 3, 4, channels + 1), np.nan, dtype)
    outs = points.transpose(0, 3, 4, 5, 1, 2, 6)

    def add(program):
        for out, relu in zip(outs, (False, True), strict=True):
            program.tiles(down, across, PerImage(tiles), PerImage(out[..., :channels]), relu)

    run(add, images, points)
    expected = np.einsum("ik,jl,syxklc->syxijc", down, across, tiles)
    tolerance = 1e-4 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(outs[0, ..., :channels], expected, rtol=0, atol=tolerance)
    np.testing.assert_allclose(outs[1, ..., :channels], np.maximum(expected, 0), rtol=0, atol=tolerance)
    assert np.isnan(outs[..., channels]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [3, 16, 21])
def test_the_largest_of_overlapping_windows(compiled, dtype, channels, random):
    images = random.standard_normal((SAMPLES, 9, 8, channels)).astype(dtype)
    images[0, 0, 0, 0] = images[1, 4, 4, 1] = np.nan
    windows = np.lib.stride_tricks.sliding_window_view(images, (3, 2), axis=(1, 2))[:, ::2, ::3]
    windows = windows.transpose(0, 1, 2, 4, 5, 3)
    wide = np.full((*windows.shape[:3], channels + 1), np.nan, dtype)

    def write(worker, start, stop):
        program = Program()
        program.largest(windows[start:stop], wide[start:stop, ..., :channels])
        return [program]

    Recorder().run(SAMPLES, (images, wide), write)
    np.testing.assert_array_equal(wide[..., :channels], windows.max(axis=(3, 4)))
    assert np.isnan(wide[..., channels]).all()


def test_zero_overwrites_nan(compiled):
    out = np.full((5, 7), np.nan, np.float32)

    def write(worker, start, stop):
        program = Program()
        program.zero(out[start:stop, :6])
        program.zero(out[start:stop, :0])
        return [program]

    Recorder().run(5, (out,), write)
    assert (out[:, :6] == 0).all()
    assert np.isnan(out[:, 6]).all()


def test_a_recorded_program_reads_the_present_values(compiled, random):
    recorder, calls = Recorder(), []
    data, out = np.empty((SAMPLES, 4), np.float32), np.empty((SAMPLES, 4), np.float32)

    def write(worker, start, stop):
        calls.append(worker)
        program = Program()
        program.copy(data[start:stop], out[start:stop])
        return [program]

    for _ in range(3):
        data[...] = random.standard_normal(data.shape)
        recorder.run(SAMPLES, (data, out), write)
        np.testing.assert_array_equal(out, data)
    assert len(calls) == (2 if compiled == "numba" else 6)


def test_other_arrays_variants_and_numbers_of_workers_are_other_programs(compiled, monkeypatch):
    monkeypatch.setattr(program, "_MOST_RECORDINGS", 2)
    recorder = Recorder()

    def run(source, out, times):
        def write(worker, start, stop):
            program = Program()
            program.copy(source[start:stop], out[start:stop])
            if times == 2:
                program.copy(source[start:stop], out[start:stop], accumulate=True)
            return [program]

        recorder.run(len(out), (source, out), write, variant=times)
        assert (out == times * source).all()

    memory = np.arange(24, dtype=np.float32)
    out = np.empty(24, np.float32)
    for _ in range(2):
        for workers in (1, 2, 3):
            threads.set_workers(workers)
            for times in (1, 2):
                run(memory.reshape(6, 4), out.reshape(6, 4), times)
                run(memory.reshape(4, 6).T, out.reshape(6, 4), times)  # other arrays at the same address
                run(memory[:20].reshape(5, 4), out[:20].reshape(5, 4), times)
