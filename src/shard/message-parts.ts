/**
 * Websocket messages until a payload is whole. With zlib-stream a payload may span several messages and
 * ends with a flush marker; with zstd-stream each message is a payload.
 *
 *   message 1: .. .. .. ..     message 2: .. .. .. 00 00 ff ff     → one payload
 */
export class MessageParts {
  readonly #isSuffixed: boolean
  readonly #bytesMax: number
  #parts: Buffer[] = []
  #bytes = 0

  constructor(compress: 'zlib-stream' | 'zstd-stream', bytesMax: number) {
    this.#isSuffixed = compress === 'zlib-stream'
    this.#bytesMax = bytesMax
  }

  get isOversize(): boolean {
    return this.#bytes > this.#bytesMax
  }

  /** Whether the message is a whole payload by itself, so that it need not be kept. */
  isWhole(bytes: Buffer, start: number, end: number): boolean {
    const isFirst = this.#parts.length === 0 && end - start <= this.#bytesMax
    return isFirst && (!this.#isSuffixed || endsFlushed(bytes, start, end))
  }

  /** Keeps a copy of the message. @returns whether a payload is whole now, and within the bound. */
  push(bytes: Buffer, start: number, end: number): boolean {
    this.#bytes += end - start
    if (this.isOversize) return false
    this.#parts.push(Buffer.from(bytes.subarray(start, end)))
    return !this.#isSuffixed || endsFlushed(bytes, start, end)
  }

  /** The parts of the whole payload; valid until the next push. */
  take(): readonly Buffer[] {
    const parts = this.#parts
    this.#parts = []
    this.#bytes = 0
    return parts
  }
}

function endsFlushed(bytes: Buffer, start: number, end: number): boolean {
  return (
    end - start >= 4 &&
    bytes[end - 1] === 0xff &&
    bytes[end - 2] === 0xff &&
    bytes[end - 3] === 0 &&
    bytes[end - 4] === 0
  )
}
