import { ByteBuffer } from '../etf/index.ts'

/** What a lane keeps for its next batches; what a storm or an outage took beyond it is given back. */
const KEPT_BYTES_MAX = 8 * 1024 * 1024
const KEPT_BUFFER_BYTES_MAX = 2 * 1024 * 1024
const NEW_BUFFER_BYTES = 16 * 1024

/**
 * Memory of batches that are through, for those that come: a batch has two buffers for each table, and to have them made
 * anew cost more than to fill them (bench/README.md#cache).
 */
export class ArenaPool {
  readonly #free: ByteBuffer[] = []
  #bytes = 0

  take(): ByteBuffer {
    const buffer = this.#free.pop()
    if (buffer === undefined) return new ByteBuffer(NEW_BUFFER_BYTES)
    this.#bytes -= buffer.bytes.length
    return buffer
  }

  /** Nobody may use the buffer from here on. */
  give(buffer: ByteBuffer): void {
    const bytes = buffer.bytes.length
    if (bytes > KEPT_BUFFER_BYTES_MAX || this.#bytes + bytes > KEPT_BYTES_MAX) return
    buffer.clear()
    this.#bytes += bytes
    this.#free.push(buffer)
  }
}
