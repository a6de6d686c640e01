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

  /** @returns whether a payload is whole now, and within the bound. */
  push(message: Buffer): boolean {
    this.#parts.push(message)
    this.#bytes += message.length
    return !this.isOversize && (!this.#isSuffixed || endsFlushed(message))
  }

  /** The parts of the whole payload; valid until the next push. */
  take(): readonly Buffer[] {
    const parts = this.#parts
    this.#parts = []
    this.#bytes = 0
    return parts
  }
}

function endsFlushed(message: Buffer): boolean {
  const end = message.length
  return (
    end >= 4 &&
    message[end - 1] === 0xff &&
    message[end - 2] === 0xff &&
    message[end - 3] === 0 &&
    message[end - 4] === 0
  )
}
