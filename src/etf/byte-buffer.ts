import { EtfError } from './errors.ts'
import { OUTPUT_BYTES_MAX } from './limits.ts'

const INITIAL_BYTES = 1024

/**
 * Output that grows and is used again: `clear()` keeps the memory. Written bytes are
 * `bytes[0, length)`; `bytes` is another object after a `reserve` that had to grow.
 */
export class ByteBuffer {
  bytes: Buffer
  length = 0

  constructor(initialBytes: number = INITIAL_BYTES) {
    this.bytes = Buffer.allocUnsafeSlow(Math.max(16, initialBytes))
  }

  /**
   * Makes room for `count` bytes behind `length`.
   *
   * @throws EtfError ETF_LIMIT when the output would exceed OUTPUT_BYTES_MAX.
   */
  reserve(count: number): void {
    const needed = this.length + count
    if (needed <= this.bytes.length) return
    if (needed > OUTPUT_BYTES_MAX) {
      throw new EtfError(
        'ETF_LIMIT',
        `The output would need ${needed} bytes, the limit is ${OUTPUT_BYTES_MAX}.`,
        { bytes: needed, bytesMax: OUTPUT_BYTES_MAX },
      )
    }
    const size = Math.min(OUTPUT_BYTES_MAX, Math.max(needed, this.bytes.length * 2))
    const grown = Buffer.allocUnsafeSlow(size)
    this.bytes.copy(grown, 0, 0, this.length)
    this.bytes = grown
  }

  clear(): void {
    this.length = 0
  }

  writeByte(byte: number): void {
    this.reserve(1)
    this.bytes[this.length++] = byte
  }

  writeUint32(value: number): void {
    this.reserve(4)
    this.length = this.bytes.writeUInt32BE(value, this.length)
  }

  /** Appends `source[start, end)`. */
  writeBytes(source: Uint8Array, start: number = 0, end: number = source.length): void {
    const count = end - start
    this.reserve(count)
    if (count < 24) {
      // A call into the runtime costs more than a few byte moves.
      const target = this.bytes
      let at = this.length
      for (let pos = start; pos < end; pos++) target[at++] = source[pos]!
    } else {
      this.bytes.set(source.subarray(start, end), this.length)
    }
    this.length += count
  }

  /** Appends a string as UTF-8; a lone surrogate becomes U+FFFD. */
  writeText(text: string): void {
    this.reserve(text.length * 3)
    this.length += this.bytes.write(text, this.length, 'utf8')
  }

  /** A view of what was written; valid until the next write or clear. */
  view(): Buffer {
    return this.bytes.subarray(0, this.length)
  }

  /** A copy of what was written, in memory of its own. */
  copy(): Buffer {
    const result = Buffer.allocUnsafeSlow(this.length)
    this.bytes.copy(result, 0, 0, this.length)
    return result
  }

  toString(): string {
    return this.bytes.toString('utf8', 0, this.length)
  }
}
