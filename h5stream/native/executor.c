/* Does one reading job: reads pieces of a file, undoes their filters, puts rows to their places.
 *
 * 1. Pieces come sorted by their place in the file. Neighbours are read together.
 * 2. Each piece is decoded, straight to its place if its rows stay together.
 * 3. Else its rows are copied to their places while they are in the processor's cache.
 *
 * Nothing here knows of Python. Codecs are functions of libraries that the caller has loaded.
 * Every number in a job's tables may come from a damaged file: each is checked before it is used.
 * A piece that cannot be done is marked in `status` and left to the caller, who does it again,
 * slowly and with words. The layout of the structures is mirrored in job.py.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#if defined(__GNUC__)
#define API __attribute__((visibility("default")))
#else
#define API
#endif

typedef uint8_t byte;

enum { DONE = 0, BAD_TABLE = 1, NOT_READ = 2, NO_DECODER = 3, DAMAGED = 4, TOO_LARGE = 5 };

enum {
    DEFLATE = 1,
    SHUFFLE = 2,
    FLETCHER32 = 3,
    BZIP2 = 307,
    LZF = 32000,
    BLOSC = 32001,
    LZ4 = 32004,
    ZSTD = 32015
};

enum { FRAME_ROOM = 24 };      /* bytes in front of shuffled data for a Blosc header */
enum { SMALLEST_FRAME = 256, LARGEST_FRAME = 1 << 29 };
enum { LONG_ROW = 2048 };      /* from this on, a row is worth an entry of a vectored read */
enum { MOST_BUFFERS = 256 };
enum { MOST_AXES = 32 };

/* ------------------------------------------------------------------------ what a job is */

/* Any of them may be NULL: then what needs it is left to the caller. */
struct codecs {
    void *(*deflate_make)(void);
    void (*deflate_free)(void *);
    int (*deflate)(void *, const void *, size_t, void *, size_t, size_t *);
    int (*lz4)(const char *, char *, int, int);
    void *(*zstd_make)(void);
    size_t (*zstd_free)(void *);
    size_t (*zstd)(void *, void *, size_t, const void *, size_t);
    unsigned (*lzf)(const void *, unsigned, void *, unsigned);
    int (*blosc)(const void *, void *, size_t, int);
    int (*bzip2)(char *, unsigned *, char *, unsigned, int, int);
    uint32_t (*fletcher32)(const void *, size_t);
};

/* One filter to undo. */
struct step {
    int64_t filter;
    int64_t itemsize; /* of the shuffle */
    int64_t nbytes;   /* what it must give; below zero: what is stored, without `added` */
    int64_t added;    /* what writing added; below zero: a compressor */
};

struct job {
    /* Where bytes come from: a descriptor, or parts of the file in memory, sorted. */
    int64_t descriptor;
    int64_t n_parts;
    const int64_t *part_offset, *part_size;
    const byte *const *part_data;
    int64_t max_gap, max_read;

    /* Pieces, sorted by offset; one more in `first_segment`. */
    int64_t n_pieces;
    const int64_t *offset, *size, *plan, *first_segment;

    /* Rows of pieces: the first, how many, and the number of the first in the window. */
    int64_t n_segments;
    const int64_t *start, *rows, *number;

    /* Filters to undo, in order; one more in `first_step`. */
    int64_t n_plans, n_steps;
    const int64_t *first_step;
    const struct step *steps;

    /* Sizes; of chunks zero if pieces are runs of rows. */
    int64_t chunk_nbytes, chunk_rows, row_nbytes;

    /* If chunks split rows: the axes of a row, the last in bytes, and where each piece begins. */
    int64_t n_axes;
    const int64_t *row_shape, *chunk_shape, *corner;

    /* Where rows go: row i of the window to `places[i]`, or to i. */
    byte *window;
    int64_t window_rows;
    const int64_t *places;
    int64_t n_places;

    /* Working memory of this thread. */
    byte *read_memory;
    int64_t read_nbytes;
    byte *work_memory[3];
    int64_t work_nbytes;

    const struct codecs *codecs;

    /* What came of each piece: DONE, or a reason and 16 times the number of the step. */
    int64_t *status;
    int64_t fetched_bytes, decoded_bytes, fetch_ns, decode_ns, place_ns;
};

/* What lives as long as a call. */
struct run {
    struct job *job;
    void *inflater, *unpacker;
};

/* ------------------------------------------------------------------------------- checks */

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int multiply(int64_t a, int64_t b, int64_t *product)
{
    return a >= 0 && b >= 0 && !__builtin_mul_overflow(a, b, product);
}

static int is_range(int64_t first, int64_t count, int64_t limit)
{
    return first >= 0 && count >= 0 && count <= limit && first <= limit - count;
}

static int are_bounds(const int64_t *bounds, int64_t count, int64_t limit)
{
    if (bounds[0] != 0 || bounds[count] != limit)
        return 0;
    for (int64_t i = 0; i < count; i++)
        if (bounds[i] > bounds[i + 1])
            return 0;
    return 1;
}

/* Whether what all pieces share makes sense. */
static int is_sound(const struct job *job)
{
    int64_t nbytes;
    if (job->n_pieces < 0 || job->n_segments < 0 || job->n_plans < 0 || job->n_steps < 0)
        return 0;
    if (job->n_parts < 0 || job->n_axes < 0 || job->n_axes > MOST_AXES || job->window_rows < 0)
        return 0;
    if (job->row_nbytes <= 0 || job->chunk_nbytes < 0 || job->chunk_rows < 0)
        return 0;
    if (job->read_nbytes < 0 || job->work_nbytes < FRAME_ROOM || job->n_places < 0)
        return 0;
    if (!multiply(job->window_rows, job->row_nbytes, &nbytes))
        return 0;
    if (!are_bounds(job->first_segment, job->n_pieces, job->n_segments))
        return 0;
    if (!are_bounds(job->first_step, job->n_plans, job->n_steps))
        return 0;
    if (job->chunk_nbytes == 0)
        return job->n_axes == 0;
    nbytes = job->chunk_rows;
    int64_t row = 1, all = 0;
    if (job->n_axes == 0) {
        row = job->row_nbytes;
    } else {
        int64_t whole = 1;
        for (int64_t a = 0; a < job->n_axes; a++)
            if (job->chunk_shape[a] <= 0 || !multiply(row, job->chunk_shape[a], &row)
                || !multiply(whole, job->row_shape[a], &whole))
                return 0;
        if (whole != job->row_nbytes)
            return 0;
    }
    return multiply(nbytes, row, &all) && all == job->chunk_nbytes;
}

/* Whether a piece's rows are rows of it, and go to rows of the window. */
static int has_sound_segments(const struct job *job, int64_t piece)
{
    int64_t limit = job->chunk_nbytes ? job->chunk_rows : job->size[piece] / job->row_nbytes;
    int64_t numbers = job->places ? job->n_places : job->window_rows;
    for (int64_t s = job->first_segment[piece]; s < job->first_segment[piece + 1]; s++) {
        if (!is_range(job->start[s], job->rows[s], limit))
            return 0;
        if (!is_range(job->number[s], job->rows[s], numbers))
            return 0;
        if (job->places)
            for (int64_t i = 0; i < job->rows[s]; i++)
                if (!is_range(job->places[job->number[s] + i], 1, job->window_rows))
                    return 0;
    }
    return 1;
}

static int is_sound_corner(const struct job *job, int64_t piece)
{
    for (int64_t a = 0; a < job->n_axes; a++) {
        int64_t at = job->corner[piece * job->n_axes + a];
        if (at < 0 || at >= job->row_shape[a])
            return 0;
    }
    return 1;
}

static int64_t check_piece(const struct job *job, int64_t piece)
{
    if (!has_sound_segments(job, piece))
        return BAD_TABLE;
    if (job->plan[piece] < 0 || job->plan[piece] >= job->n_plans)
        return BAD_TABLE;
    if (job->offset[piece] < 0 || job->size[piece] < 0)
        return BAD_TABLE;
    if (job->size[piece] > INT64_MAX - job->offset[piece])
        return BAD_TABLE;
    if (!job->chunk_nbytes
        && job->first_step[job->plan[piece]] != job->first_step[job->plan[piece] + 1])
        return BAD_TABLE;
    return is_sound_corner(job, piece) ? DONE : BAD_TABLE;
}

/* ------------------------------------------------------------------------------ reading */

/* Fills buffers with the bytes from `offset` on, all of them or none is good. */
static int read_vectors(struct job *job, struct iovec *vectors, int count, int64_t offset)
{
    int64_t started = now_ns();
    while (count > 0) {
        ssize_t got = preadv((int)job->descriptor, vectors, count, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        offset += got;
        job->fetched_bytes += got;
        while (count > 0 && (size_t)got >= vectors->iov_len) {
            got -= (ssize_t)vectors->iov_len;
            vectors++, count--;
        }
        if (count > 0) {
            vectors->iov_base = (byte *)vectors->iov_base + got;
            vectors->iov_len -= (size_t)got;
        }
    }
    job->fetch_ns += now_ns() - started;
    return count == 0;
}

static int read_into(struct job *job, byte *memory, int64_t nbytes, int64_t offset)
{
    struct iovec vector = {memory, (size_t)nbytes};
    return nbytes == 0 || read_vectors(job, &vector, 1, offset);
}

/* Finds bytes that are in memory already. */
static const byte *find_part(const struct job *job, int64_t offset, int64_t size)
{
    int64_t low = 0, high = job->n_parts;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (job->part_offset[middle] <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return NULL;
    int64_t within = offset - job->part_offset[low - 1];
    if (!is_range(within, size, job->part_size[low - 1]))
        return NULL;
    return job->part_data[low - 1] + within;
}

/* ----------------------------------------------------------------------------- decoding */

static uint32_t little32(const byte *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint32_t big32(const byte *at)
{
    return (uint32_t)at[3] | (uint32_t)at[2] << 8 | (uint32_t)at[1] << 16 | (uint32_t)at[0] << 24;
}

static void put_little32(byte *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (byte)(value >> 8 * i);
}

static int64_t undo_deflate(struct run *run, const byte *in, int64_t n, byte *out, int64_t size)
{
    const struct codecs *codecs = run->job->codecs;
    size_t written = 0;
    if (!codecs->deflate || !codecs->deflate_make || !codecs->deflate_free)
        return NO_DECODER;
    if (!run->inflater && !(run->inflater = codecs->deflate_make()))
        return TOO_LARGE;
    if (codecs->deflate(run->inflater, in, (size_t)n, out, (size_t)size, &written) != 0)
        return DAMAGED;
    return (int64_t)written == size ? DONE : DAMAGED;
}

static int64_t undo_zstd(struct run *run, const byte *in, int64_t n, byte *out, int64_t size)
{
    const struct codecs *codecs = run->job->codecs;
    if (!codecs->zstd || !codecs->zstd_make || !codecs->zstd_free)
        return NO_DECODER;
    if (!run->unpacker && !(run->unpacker = codecs->zstd_make()))
        return TOO_LARGE;
    /* Errors are sizes that no buffer has. */
    return codecs->zstd(run->unpacker, out, (size_t)size, in, (size_t)n) == (size_t)size ? DONE
                                                                                         : DAMAGED;
}

/* The format of HDF5's LZ4 filter: size (8 bytes) and size of a block (4), both big-endian, and
 * for each block its stored size (4) and bytes; a block that did not shrink is stored as it is. */
static int64_t undo_lz4(struct run *run, const byte *in, int64_t n, byte *out, int64_t size)
{
    const struct codecs *codecs = run->job->codecs;
    if (!codecs->lz4)
        return NO_DECODER;
    if (n < 12 || big32(in) != 0 || (int64_t)big32(in + 4) != size)
        return DAMAGED;
    int64_t block = big32(in + 8), at = 12;
    if (block <= 0 || block > INT_MAX)
        return DAMAGED;
    for (int64_t done = 0; done < size;) {
        int64_t want = size - done < block ? size - done : block;
        if (n - at < 4)
            return DAMAGED;
        int64_t stored = big32(in + at);
        at += 4;
        if (stored > n - at || stored > INT_MAX)
            return DAMAGED;
        if (stored == want)
            memcpy(out + done, in + at, (size_t)want);
        else if (codecs->lz4((const char *)in + at, (char *)out + done, (int)stored, (int)want)
                 != (int)want)
            return DAMAGED;
        at += stored;
        done += want;
    }
    return DONE;
}

static int64_t undo_lzf(struct run *run, const byte *in, int64_t n, byte *out, int64_t size)
{
    const struct codecs *codecs = run->job->codecs;
    if (!codecs->lzf)
        return NO_DECODER;
    if (n > INT_MAX || size > INT_MAX)
        return TOO_LARGE;
    return (int64_t)codecs->lzf(in, (unsigned)n, out, (unsigned)size) == size ? DONE : DAMAGED;
}

static int64_t undo_blosc(struct run *run, const byte *in, int64_t n, byte *out, int64_t size)
{
    const struct codecs *codecs = run->job->codecs;
    if (!codecs->blosc)
        return NO_DECODER;
    if (size > INT_MAX)
        return TOO_LARGE;
    if (n < 16 || (int64_t)little32(in + 4) != size || (int64_t)little32(in + 12) != n)
        return DAMAGED;
    return codecs->blosc(in, out, (size_t)size, 1) == (int)size ? DONE : DAMAGED;
}

/* One byte of room would tell a stream that is too long; without it the codec says so itself. */
static int64_t undo_bzip2(struct run *run, const byte *in, int64_t n, byte *out, int64_t size)
{
    const struct codecs *codecs = run->job->codecs;
    if (!codecs->bzip2)
        return NO_DECODER;
    if (n > INT_MAX || size > INT_MAX)
        return TOO_LARGE;
    unsigned written = (unsigned)size;
    if (codecs->bzip2((char *)out, &written, (char *)in, (unsigned)n, 0, 0) != 0)
        return DAMAGED;
    return written == (unsigned)size ? DONE : DAMAGED;
}

/* HDF5 accepts either byte order within the halves of the checksum. */
static int64_t undo_fletcher32(struct run *run, const byte *in, int64_t n, byte *out, int64_t size)
{
    const struct codecs *codecs = run->job->codecs;
    if (!codecs->fletcher32)
        return NO_DECODER;
    if (size < 1 || n != size + 4)
        return DAMAGED;
    uint32_t found = codecs->fletcher32(in, (size_t)size), stored = little32(in + size);
    uint32_t swapped = (found & 0x00FF00FFu) << 8 | (found >> 8 & 0x00FF00FFu);
    if (stored != found && stored != swapped)
        return DAMAGED;
    memcpy(out, in, (size_t)size);
    return DONE;
}

/* Bytes beyond the last whole item are not shuffled. */
static void unshuffle(const byte *in, byte *out, int64_t size, int64_t itemsize)
{
    int64_t count = size / itemsize, whole = count * itemsize;
    for (int64_t plane = 0; plane < itemsize && count > 0; plane++)
        for (int64_t i = 0; i < count; i++)
            out[i * itemsize + plane] = in[plane * count + i];
    memcpy(out + whole, in + whole, (size_t)(size - whole));
}

/* Blosc undoes the same shuffle with SIMD instructions, so the data is dressed up as a Blosc
 * buffer of one stored block. The header goes to the room in front of the data, which `framed`
 * says is there. */
static int64_t undo_shuffle(struct run *run, byte *in, int64_t n, byte *out, int64_t size,
                            int64_t itemsize, int framed)
{
    const struct codecs *codecs = run->job->codecs;
    if (itemsize < 1 || n != size)
        return DAMAGED;
    if (!framed || !codecs->blosc || itemsize < 2 || itemsize > 255 || size < SMALLEST_FRAME
        || size > LARGEST_FRAME) {
        unshuffle(in, out, size, itemsize);
        return DONE;
    }
    byte *frame = in - FRAME_ROOM;
    frame[0] = 2, frame[1] = 1, frame[2] = 0x01 | 0x10, frame[3] = (byte)itemsize;
    put_little32(frame + 4, (uint32_t)size);
    put_little32(frame + 8, (uint32_t)size);
    put_little32(frame + 12, (uint32_t)(FRAME_ROOM + size));
    put_little32(frame + 16, FRAME_ROOM - 4);
    put_little32(frame + 20, (uint32_t)size);
    return codecs->blosc(frame, out, (size_t)size, 1) == (int)size ? DONE : DAMAGED;
}

static int64_t undo(struct run *run, const struct step *step, byte *in, int64_t n, byte *out,
                    int64_t size, int framed)
{
    if (n <= 0)
        return DAMAGED;
    if (step->added >= 0 && (step->added > n || n - step->added != size))
        return DAMAGED;
    switch (step->filter) {
    case DEFLATE:
        return undo_deflate(run, in, n, out, size);
    case SHUFFLE:
        return undo_shuffle(run, in, n, out, size, step->itemsize, framed);
    case FLETCHER32:
        return undo_fletcher32(run, in, n, out, size);
    case BZIP2:
        return undo_bzip2(run, in, n, out, size);
    case LZF:
        return undo_lzf(run, in, n, out, size);
    case BLOSC:
        return undo_blosc(run, in, n, out, size);
    case LZ4:
        return undo_lz4(run, in, n, out, size);
    case ZSTD:
        return undo_zstd(run, in, n, out, size);
    }
    return NO_DECODER;
}

/* Undoes all filters of a stored chunk; `out` takes `chunk_nbytes`. */
static int64_t decode(struct run *run, int64_t plan, const byte *stored, int64_t n, byte *out)
{
    struct job *job = run->job;
    int64_t first = job->first_step[plan], last = job->first_step[plan + 1];
    byte *in = (byte *)stored; /* only what is in working memory is written to */
    int framed = 0, turn = 0;
    for (int64_t s = first; s < last; s++) {
        const struct step *step = &job->steps[s];
        int64_t number = 16 * (s - first);
        if (step->nbytes < 0 && (step->added < 0 || step->added > n))
            return DAMAGED + number;
        int64_t size = step->nbytes < 0 ? n - step->added : step->nbytes;
        byte *target = out;
        if (s + 1 < last) {
            if (size > job->work_nbytes - FRAME_ROOM)
                return TOO_LARGE + number;
            target = job->work_memory[turn] + FRAME_ROOM;
            turn = !turn;
        } else if (size != job->chunk_nbytes) {
            return DAMAGED + number;
        }
        int64_t status = undo(run, step, in, n, target, size, framed);
        if (status != DONE)
            return status + number;
        in = target, n = size, framed = 1;
    }
    return DONE;
}

/* ---------------------------------------------------------------------- rows to places */

static byte *place_of(const struct job *job, int64_t number)
{
    int64_t row = job->places ? job->places[number] : number;
    return job->window + row * job->row_nbytes;
}

static int are_together(const struct job *job, int64_t number, int64_t rows)
{
    if (job->places)
        for (int64_t i = 1; i < rows; i++)
            if (job->places[number + i] != job->places[number] + i)
                return 0;
    return 1;
}

static void copy_rows(const struct job *job, int64_t segment, const byte *from)
{
    int64_t number = job->number[segment], rows = job->rows[segment];
    if (!job->places) {
        memcpy(place_of(job, number), from, (size_t)(rows * job->row_nbytes));
        return;
    }
    for (int64_t i = 0; i < rows; i++)
        memcpy(place_of(job, number + i), from + i * job->row_nbytes, (size_t)job->row_nbytes);
}

/* Copies the part of one row that a chunk holds; axes are walked from the outside in. */
static void copy_part(const struct job *job, const int64_t *corner, int64_t axis, const byte *from,
                      byte *to, int64_t from_nbytes, int64_t to_nbytes)
{
    int64_t length = job->chunk_shape[axis], rest = job->row_shape[axis] - corner[axis];
    int64_t count = length < rest ? length : rest;
    int64_t from_step = from_nbytes / length, to_step = to_nbytes / job->row_shape[axis];
    to += corner[axis] * to_step;
    if (axis + 1 == job->n_axes) {
        memcpy(to, from, (size_t)count);
        return;
    }
    for (int64_t i = 0; i < count; i++)
        copy_part(job, corner, axis + 1, from + i * from_step, to + i * to_step, from_step,
                  to_step);
}

static void place_chunk(const struct job *job, int64_t piece, const byte *chunk)
{
    int64_t nbytes = job->chunk_nbytes / job->chunk_rows;
    for (int64_t s = job->first_segment[piece]; s < job->first_segment[piece + 1]; s++) {
        const byte *from = chunk + job->start[s] * nbytes;
        if (job->n_axes == 0) {
            copy_rows(job, s, from);
            continue;
        }
        for (int64_t i = 0; i < job->rows[s]; i++)
            copy_part(job, job->corner + piece * job->n_axes, 0, from + i * nbytes,
                      place_of(job, job->number[s] + i), nbytes, job->row_nbytes);
    }
}

/* Where a chunk can be decoded to at once: NULL unless all its rows stay together. */
static byte *whole_place(const struct job *job, int64_t piece)
{
    int64_t segment = job->first_segment[piece];
    if (job->n_axes || job->first_segment[piece + 1] != segment + 1)
        return NULL;
    if (job->start[segment] != 0 || job->rows[segment] != job->chunk_rows)
        return NULL;
    if (!are_together(job, job->number[segment], job->chunk_rows))
        return NULL;
    return place_of(job, job->number[segment]);
}

static int64_t do_chunk(struct run *run, int64_t piece, const byte *stored)
{
    struct job *job = run->job;
    int64_t plan = job->plan[piece], size = job->size[piece], started = now_ns();
    const byte *decoded = stored;
    byte *place = whole_place(job, piece);
    if (job->first_step[plan] == job->first_step[plan + 1]) {
        if (size != job->chunk_nbytes)
            return DAMAGED;
    } else {
        if (!place && job->chunk_nbytes > job->work_nbytes)
            return TOO_LARGE;
        byte *out = place ? place : job->work_memory[2];
        int64_t status = decode(run, plan, stored, size, out);
        if (status != DONE)
            return status;
        decoded = out;
    }
    int64_t decoded_at = now_ns();
    job->decode_ns += decoded_at - started;
    job->decoded_bytes += job->chunk_nbytes;
    if (decoded != place)
        place_chunk(job, piece, decoded);
    job->place_ns += now_ns() - decoded_at;
    return DONE;
}

static int64_t do_stored(struct run *run, int64_t piece, const byte *stored)
{
    struct job *job = run->job;
    if (job->chunk_nbytes)
        return do_chunk(run, piece, stored);
    int64_t started = now_ns();
    for (int64_t s = job->first_segment[piece]; s < job->first_segment[piece + 1]; s++)
        copy_rows(job, s, stored + job->start[s] * job->row_nbytes);
    job->place_ns += now_ns() - started;
    return DONE;
}

/* ------------------------------------------------------- runs of rows, read to their places */

/* Whether a piece's bytes are rows as the window takes them, worth a vectored read. */
static int is_read_in_place(const struct job *job, int64_t piece)
{
    int64_t segment = job->first_segment[piece], plan = job->plan[piece];
    if (job->n_parts || job->n_axes || job->first_step[plan] != job->first_step[plan + 1])
        return 0;
    if (job->first_segment[piece + 1] != segment + 1 || job->start[segment] != 0)
        return 0;
    if (job->chunk_nbytes && job->size[piece] != job->chunk_nbytes)
        return 0;
    if (job->rows[segment] == 0 || job->rows[segment] != job->size[piece] / job->row_nbytes
        || job->size[piece] % job->row_nbytes)
        return 0;
    return !job->places || job->row_nbytes >= LONG_ROW;
}

/* Adds the memory of a piece's rows to vectors; reads what they hold when they are full. */
static int add_vectors(struct job *job, int64_t piece, struct iovec *vectors, int *count,
                       int64_t *offset)
{
    int64_t segment = job->first_segment[piece], rows = job->rows[segment];
    int64_t some = job->places ? 1 : rows;
    for (int64_t row = 0; row < rows; row += some) {
        if (*count == MOST_BUFFERS) {
            if (!read_vectors(job, vectors, *count, *offset))
                return 0;
            *offset = job->offset[piece] + row * job->row_nbytes, *count = 0;
        }
        vectors[*count].iov_base = place_of(job, job->number[segment] + row);
        vectors[*count].iov_len = (size_t)(some * job->row_nbytes);
        ++*count;
    }
    return 1;
}

/* Reads pieces that follow each other in the file, from `piece` on; returns one past the last. */
static int64_t read_in_place(struct job *job, int64_t piece)
{
    struct iovec vectors[MOST_BUFFERS];
    int64_t offset = job->offset[piece], next = piece;
    int count = 0, ok = 1;
    do {
        ok = ok && add_vectors(job, next, vectors, &count, &offset);
        next++;
    } while (next < job->n_pieces && job->status[next] == DONE && is_read_in_place(job, next)
             && job->offset[next] == job->offset[next - 1] + job->size[next - 1]);
    if (!ok || !read_vectors(job, vectors, count, offset))
        for (int64_t p = piece; p < next; p++)
            job->status[p] = NOT_READ;
    return next;
}

/* ---------------------------------------------------------------------------- all pieces */

/* Reads a long run of short rows bit by bit, so that it is still in the cache when it is copied. */
static int64_t do_long_run(struct run *run, int64_t piece)
{
    struct job *job = run->job;
    int64_t most = job->max_read < job->read_nbytes ? job->max_read : job->read_nbytes;
    int64_t rows_at_once = most / job->row_nbytes;
    if (rows_at_once < 1)
        return TOO_LARGE;
    for (int64_t s = job->first_segment[piece]; s < job->first_segment[piece + 1]; s++)
        for (int64_t row = 0; row < job->rows[s]; row += rows_at_once) {
            int64_t rows = job->rows[s] - row < rows_at_once ? job->rows[s] - row : rows_at_once;
            int64_t offset = job->offset[piece] + (job->start[s] + row) * job->row_nbytes;
            if (!read_into(job, job->read_memory, rows * job->row_nbytes, offset))
                return NOT_READ;
            int64_t started = now_ns();
            for (int64_t i = 0; i < rows; i++)
                memcpy(place_of(job, job->number[s] + row + i),
                       job->read_memory + i * job->row_nbytes, (size_t)job->row_nbytes);
            job->place_ns += now_ns() - started;
        }
    return DONE;
}

/* Reads pieces that lie close together, from `piece` on, and does them; returns one past the
 * last. */
static int64_t do_neighbours(struct run *run, int64_t piece)
{
    struct job *job = run->job;
    int64_t begin = job->offset[piece], reached = begin + job->size[piece], next = piece + 1;
    int64_t most = job->max_read < job->read_nbytes ? job->max_read : job->read_nbytes;
    while (next < job->n_pieces && job->status[next] == DONE && job->offset[next] >= begin) {
        int64_t end = job->offset[next] + job->size[next];
        int64_t further = end > reached ? end : reached;
        if (job->offset[next] > reached && job->offset[next] - reached > job->max_gap)
            break;
        if (further - begin > most)
            break;
        reached = further, next++;
    }
    int64_t ok = reached - begin <= job->read_nbytes;
    ok = ok && read_into(job, job->read_memory, reached - begin, begin);
    for (int64_t p = piece; p < next; p++)
        job->status[p] = ok ? do_stored(run, p, job->read_memory + (job->offset[p] - begin))
                            : NOT_READ;
    return next;
}

static int64_t do_in_memory(struct run *run, int64_t piece)
{
    const byte *data = find_part(run->job, run->job->offset[piece], run->job->size[piece]);
    return data ? do_stored(run, piece, data) : NOT_READ;
}

static int64_t do_next(struct run *run, int64_t piece)
{
    struct job *job = run->job;
    if (job->status[piece] != DONE)
        return piece + 1;
    if (job->n_parts) {
        job->status[piece] = do_in_memory(run, piece);
        return piece + 1;
    }
    if (is_read_in_place(job, piece))
        return read_in_place(job, piece);
    if (!job->chunk_nbytes && job->size[piece] > job->max_read) {
        job->status[piece] = do_long_run(run, piece);
        return piece + 1;
    }
    return do_neighbours(run, piece);
}

/* Returns how many pieces were not done, below zero if the job makes no sense. */
API int64_t h5stream_run(struct job *job)
{
    struct run run = {job, NULL, NULL};
    int64_t left = 0;
    if (!is_sound(job))
        return -1;
    for (int64_t piece = 0; piece < job->n_pieces; piece++)
        job->status[piece] = check_piece(job, piece);
    for (int64_t piece = 0; piece < job->n_pieces;)
        piece = do_next(&run, piece);
    if (run.inflater)
        job->codecs->deflate_free(run.inflater);
    if (run.unpacker)
        job->codecs->zstd_free(run.unpacker);
    for (int64_t piece = 0; piece < job->n_pieces; piece++)
        left += job->status[piece] != DONE;
    return left;
}

/* Tells which source this was built from. */
API uint32_t h5stream_source(void)
{
    return H5STREAM_SOURCE;
}
