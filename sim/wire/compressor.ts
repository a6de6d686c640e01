/**
 * Transport compression: one context per connection, flushed after each message.
 *
 * - zlib-stream: Z_SYNC_FLUSH, so that each message ends with 00 00 ff ff.
 * - zstd-stream: ZSTD_e_flush: a block ends, the frame stays open. As a liberty, a whole frame per message.
 *
 * node:zlib offers streams only asynchronously; a ledger that must say what was written needs the
 * compressed bytes at once. So the binding's writeSync is used, which is not documented, after a test at
 * first use. Where it fails, messages leave in stored blocks: valid streams, not made smaller.
 * See [Discord Docs/Gateway#encoding-and-compression].
 */
import { constants, createDeflate, createZstdCompress, zstdCompressSync } from 'node:zlib'

export const COMPRESSIONS = ['zlib-stream', 'zstd-stream', 'none'] as const
export type Compression = (typeof COMPRESSIONS)[number]

export interface Compressor {
  /** The message's compressed bytes; valid until the next call. */
  compress(bytes: Uint8Array): Uint8Array
  close(): void
}

export interface CompressorOptions {
  /** zlib 1 to 9, zstd 1 to 19; 0 = stored blocks. */
  readonly level: number
  /** A frame per zstd message in place of one open frame. */
  readonly zstdFrames: boolean
}

export function createCompressor(
  compression: Exclude<Compression, 'none'>,
  options: CompressorOptions,
): Compressor {
  if (compression === 'zstd-stream' && options.zstdFrames) return new ZstdFrames(options.level)
  if (options.level > 0 && handlesWork()) return new HandleCompressor(compression, options.level)
  return compression === 'zlib-stream' ? new StoredDeflate() : new StoredZstd()
}

/** node:zlib's binding object; undocumented, the same in Node 20 to 26. */
interface ZlibHandle {
  writeSync(
    flush: number,
    input: Uint8Array,
    inputOffset: number,
    inputLength: number,
    output: Uint8Array,
    outputOffset: number,
    outputLength: number,
  ): void
}
interface ZlibInternals {
  readonly _handle?: ZlibHandle
  /** [bytes of output left, bytes of input left] after writeSync. */
  readonly _writeState?: Uint32Array
  close(): void
}

const OUTPUT_BYTES = 256 * 1024
/** 256 KiB: the window that each reader must keep; a decoder allows at least 2^23. */
const ZSTD_WINDOW_LOG = 18

class HandleCompressor implements Compressor {
  /** Shared: the bytes are copied into a frame before anybody compresses again. */
  static output = Buffer.allocUnsafe(OUTPUT_BYTES)
  readonly #stream: ZlibInternals
  readonly #flush: number

  constructor(compression: 'zlib-stream' | 'zstd-stream', level: number) {
    if (compression === 'zlib-stream') {
      this.#stream = createDeflate({ level: Math.min(level, 9) }) as unknown as ZlibInternals
      this.#flush = constants.Z_SYNC_FLUSH
    } else {
      this.#stream = createZstdCompress({
        params: {
          [constants.ZSTD_c_compressionLevel]: level,
          [constants.ZSTD_c_windowLog]: ZSTD_WINDOW_LOG,
        },
      }) as unknown as ZlibInternals
      this.#flush = constants.ZSTD_e_flush
    }
  }

  compress(bytes: Uint8Array): Uint8Array {
    const handle = this.#stream._handle!
    const state = this.#stream._writeState!
    let length = 0
    let left = bytes.length
    for (;;) {
      const output = HandleCompressor.output
      handle.writeSync(
        this.#flush,
        bytes,
        bytes.length - left,
        left,
        output,
        length,
        output.length - length,
      )
      const room = state[0]!
      left = state[1]!
      length = output.length - room
      if (room > 0) return output.subarray(0, length)
      HandleCompressor.output = Buffer.allocUnsafe(output.length * 2)
      output.copy(HandleCompressor.output)
    }
  }

  close(): void {
    this.#stream.close()
  }
}

let handlesTested: boolean | undefined

function handlesWork(): boolean {
  handlesTested ??= testHandles()
  return handlesTested
}

/** Compresses twice and looks for what every sync flush ends with. */
function testHandles(): boolean {
  const stream = createDeflate() as unknown as ZlibInternals
  try {
    if (typeof stream._handle?.writeSync !== 'function') return false
    if (!(stream._writeState instanceof Uint32Array)) return false
    const input = Buffer.from('gateway')
    const output = Buffer.alloc(64)
    for (let turn = 0; turn < 2; turn++) {
      stream._handle.writeSync(constants.Z_SYNC_FLUSH, input, 0, input.length, output, 0, 64)
      const end = 64 - stream._writeState[0]!
      if (end < 5 || output.readUInt32BE(end - 4) !== 0xffff) return false
    }
    return true
  } catch {
    return false
  } finally {
    stream.close()
  }
}

/** Deflate without compression: stored blocks of at most 65,535 bytes, then the empty one of a sync flush. RFC 1951 §3.2.4 */
class StoredDeflate implements Compressor {
  #isFirst = true

  compress(bytes: Uint8Array): Uint8Array {
    const parts: Uint8Array[] = []
    if (this.#isFirst) parts.push(Buffer.from([0x78, 0x01]))
    this.#isFirst = false
    for (let pos = 0; pos < bytes.length; pos += 0xffff) {
      const block = bytes.subarray(pos, pos + 0xffff)
      parts.push(storedHead(block.length), block)
    }
    parts.push(storedHead(0))
    return Buffer.concat(parts)
  }

  close(): void {}
}

function storedHead(length: number): Buffer {
  const head = Buffer.alloc(5)
  head.writeUInt16LE(length, 1)
  head.writeUInt16LE(length ^ 0xffff, 3)
  return head
}

/** One open zstd frame of raw blocks. RFC 8878 §3.1.1: magic, descriptor 0 (window follows), window 2^18. */
class StoredZstd implements Compressor {
  #isFirst = true

  compress(bytes: Uint8Array): Uint8Array {
    const parts: Uint8Array[] = []
    if (this.#isFirst) {
      parts.push(Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, (ZSTD_WINDOW_LOG - 10) << 3]))
    }
    this.#isFirst = false
    for (let pos = 0; pos < bytes.length; pos += 0x1_0000) {
      const block = bytes.subarray(pos, pos + 0x1_0000)
      const head = Buffer.alloc(3)
      head.writeUIntLE(block.length << 3, 0, 3)
      parts.push(head, block)
    }
    return Buffer.concat(parts)
  }

  close(): void {}
}

class ZstdFrames implements Compressor {
  readonly #level: number

  constructor(level: number) {
    this.#level = Math.max(1, level)
  }

  compress(bytes: Uint8Array): Uint8Array {
    return zstdCompressSync(bytes, {
      params: { [constants.ZSTD_c_compressionLevel]: this.#level },
    })
  }

  close(): void {}
}
