/**
 * Memory of a queue's payloads: chunks that are filled front to back and given back whole.
 *
 *   chunk   |AAAA|BBBBBBB|CCC|·········|     bytes = this chunk, end = first free byte,
 *                             ^end           entries[chunk] = 3 live entries
 *
 * An entry is (chunk, start, length). A chunk whose last entry was released is used again, so a queue in
 * steady state allocates nothing. Few live entries can pin many chunks (one key that Redis refuses, while
 * the others flow): isSparse says when it is time to copy the live ones together.
 */
const CHUNK_BYTES = 256 * 1024
/** Chunks kept for the next burst: 4 MiB. */
const SPARE_CHUNKS_MAX = 16
/** Below this, sparse or not, copying is not worth it. */
const SPARSE_BYTES_MIN = 4 * 1024 * 1024

export class ByteArena {
  /** The chunk that is being filled; valid from `end` on. */
  bytes: Buffer
  /** First free byte of `bytes`. */
  end = 0
  /** Memory held by chunks, spare ones included. */
  allocatedBytes = 0
  #current = 0
  #liveBytes = 0
  readonly #chunks: (Buffer | undefined)[] = []
  readonly #entries: number[] = []
  readonly #freeIndexes: number[] = []
  #spare: Buffer[] = []

  constructor() {
    this.bytes = this.#allocate(CHUNK_BYTES)
    this.#current = this.#adopt(this.bytes)
  }

  /** Index of the chunk that is being filled. */
  get current(): number {
    return this.#current
  }

  /** Makes `length` bytes contiguous in `bytes` from `end` on. */
  reserve(length: number): void {
    if (this.end + length <= this.bytes.length) return
    if (this.#entries[this.#current] === 0) this.#free(this.#current)
    this.#open(length)
  }

  /** The next `length` bytes from `end` on are an entry of the current chunk. */
  take(length: number): void {
    this.end += length
    this.#liveBytes += length
    this.#entries[this.#current]!++
  }

  chunk(index: number): Buffer {
    return this.#chunks[index]!
  }

  release(chunk: number, length: number): void {
    this.#liveBytes -= length
    if (--this.#entries[chunk]! > 0) return
    if (chunk !== this.#current) {
      this.#free(chunk)
    } else if (this.bytes.length === CHUNK_BYTES) {
      this.end = 0
    } else {
      this.#free(chunk)
      this.#open(CHUNK_BYTES)
    }
  }

  /** More than half of the memory is held for nothing. */
  get isSparse(): boolean {
    const spareBytes = this.#spare.length * CHUNK_BYTES
    return this.allocatedBytes - spareBytes > 2 * this.#liveBytes + SPARSE_BYTES_MIN
  }

  #open(length: number): void {
    this.bytes =
      length > CHUNK_BYTES
        ? this.#allocate(length)
        : (this.#spare.pop() ?? this.#allocate(CHUNK_BYTES))
    this.end = 0
    this.#current = this.#adopt(this.bytes)
  }

  #allocate(length: number): Buffer {
    this.allocatedBytes += length
    return Buffer.allocUnsafeSlow(length)
  }

  #adopt(chunk: Buffer): number {
    const index = this.#freeIndexes.pop() ?? this.#chunks.length
    this.#chunks[index] = chunk
    this.#entries[index] = 0
    return index
  }

  #free(index: number): void {
    const chunk = this.#chunks[index]!
    this.#chunks[index] = undefined
    this.#freeIndexes.push(index)
    if (chunk.length === CHUNK_BYTES && this.#spare.length < SPARE_CHUNKS_MAX) {
      this.#spare.push(chunk)
    } else {
      this.allocatedBytes -= chunk.length
    }
  }
}
