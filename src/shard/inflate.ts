/**
 * Transport decompression: one context per connection, one payload per flush.
 * See [Discord Docs/Gateway#transport-compression].
 *
 * The fast way uses the native handle inside node:zlib's streams synchronously (a tenth of the stream
 * API's cost). That is private API, so: only this file touches it, it is tried at start (selfTest), and
 * the documented stream API (inflate-stream.ts) takes over where it does not behave. An error must be
 * caught by `onerror`: Node's own handler would free the handle, and using it then aborts the process.
 */
import zlib from 'node:zlib'
import { messageOf } from '../base/index.ts'
import type { FrameSink } from './frame-sink.ts'
import { StreamInflater } from './inflate-stream.ts'
import { MessageParts } from './message-parts.ts'
import type { ConnectionQuery } from './ports.ts'

export type Compress = ConnectionQuery['compress']

export interface Inflater {
  /**
   * One websocket message: bytes[start, end), of which nothing is kept without a copy. Payloads come through
   * the sink, with the stream API after the call.
   */
  write(bytes: Buffer, start: number, end: number): void
  close(): void
}

/** The part of node:zlib's internals that is used; unchanged from Node 20 to 26. */
interface NativeHandle {
  onerror: (message: string, errno: number, code: string) => void
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
interface NativeStream {
  /** After a write: [bytes left in the output, bytes left in the input]. */
  readonly _writeState: Uint32Array
  readonly _handle: NativeHandle | null
  close(): void
}

/** One output buffer for all connections: a payload is handled before the next message is inflated. */
let output: Buffer = Buffer.allocUnsafeSlow(256 * 1024)

/**
 * The largest zstd window that is accepted: 8 MiB, what zstd's strongest ordinary level uses. The
 * library's own bound of 128 MiB would be paid per connection.
 */
const ZSTD_WINDOW_LOG_MAX = 23
const ZSTD_PARAMS = { [zlib.constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG_MAX }

export class HandleInflater implements Inflater {
  readonly #stream: NativeStream
  readonly #handle: NativeHandle
  readonly #writeState: Uint32Array
  readonly #flush: number
  readonly #parts: MessageParts
  readonly #sink: FrameSink
  readonly #bytesMax: number
  #failure: string | null = null
  #isClosed = false

  constructor(compress: 'zlib-stream' | 'zstd-stream', sink: FrameSink, bytesMax: number) {
    const stream = nativeStream(compress)
    if (stream._handle === null) throw new Error('node:zlib has no handle')
    this.#stream = stream
    this.#handle = stream._handle
    this.#writeState = stream._writeState
    this.#flush = compress === 'zlib-stream' ? zlib.constants.Z_SYNC_FLUSH : 0
    this.#parts = new MessageParts(compress, bytesMax)
    this.#sink = sink
    this.#bytesMax = bytesMax
    this.#handle.onerror = (message) => {
      this.#failure = message
    }
  }

  write(bytes: Buffer, start: number, end: number): void {
    if (this.#isClosed) return
    let outputEnd = 0
    if (this.#parts.isWhole(bytes, start, end)) {
      outputEnd = this.#inflate(bytes, start, end, 0)
    } else if (this.#parts.push(bytes, start, end)) {
      for (const part of this.#parts.take()) {
        outputEnd = this.#inflate(part, 0, part.length, outputEnd)
        if (outputEnd === -1) return
      }
    } else if (this.#parts.isOversize) {
      this.#fail('oversize', 'a message never ends')
    }
    if (outputEnd > 0) this.#sink.onPayload(output, 0, outputEnd)
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#stream.close()
  }

  /** Inflates input[start, inputEnd) to output[outputPos, …). Returns the new end, -1 after a failure. */
  #inflate(input: Buffer, start: number, inputEnd: number, outputPos: number): number {
    let end = outputPos
    let inputPos = start
    let inputLeft = inputEnd - start
    for (;;) {
      if (end === output.length) output = grown(output)
      const room = output.length - end
      this.#handle.writeSync(this.#flush, input, inputPos, inputLeft, output, end, room)
      if (this.#failure !== null) return this.#fail('corrupt', this.#failure)
      const roomLeft = this.#writeState[0]!
      const left = this.#writeState[1]!
      end += room - roomLeft
      if (end > this.#bytesMax)
        return this.#fail('oversize', 'the payload inflates beyond the bound')
      if (left === 0 && roomLeft > 0) return end
      // The stream has ended and more follows: it would take nothing for ever.
      if (left === inputLeft && roomLeft === room)
        return this.#fail('corrupt', 'data after the end')
      inputPos += inputLeft - left
      inputLeft = left
    }
  }

  /** After a failure the handle is never used again, only closed through the public API. */
  #fail(cause: 'corrupt' | 'oversize', message: string): -1 {
    this.close()
    this.#sink.onBadFrame(cause, message)
    return -1
  }
}

/** `compress=none`: a message is a payload. */
class PlainInflater implements Inflater {
  readonly #sink: FrameSink
  readonly #bytesMax: number

  constructor(sink: FrameSink, bytesMax: number) {
    this.#sink = sink
    this.#bytesMax = bytesMax
  }

  write(bytes: Buffer, start: number, end: number): void {
    if (end - start > this.#bytesMax) this.#sink.onBadFrame('oversize', 'the message is too large')
    else this.#sink.onPayload(bytes, start, end)
  }

  close(): void {}
}

/** Makes inflaters; decides once per process and kind whether the fast way is safe here. */
export class Inflaters {
  readonly #bytesMax: number
  readonly #isFast: Readonly<Record<'zlib-stream' | 'zstd-stream', boolean>>

  /** @param bytesMax bound of one payload, compressed and inflated. */
  constructor(bytesMax: number, selfTest: typeof handleSelfTest = handleSelfTest) {
    this.#bytesMax = bytesMax
    this.#isFast = {
      'zlib-stream': selfTest('zlib-stream') === null,
      'zstd-stream': selfTest('zstd-stream') === null,
    }
  }

  isFast(compress: Compress): boolean {
    return compress === 'none' || this.#isFast[compress]
  }

  open(compress: Compress, sink: FrameSink): Inflater {
    if (compress === 'none') return new PlainInflater(sink, this.#bytesMax)
    return this.#isFast[compress]
      ? new HandleInflater(compress, sink, this.#bytesMax)
      : new StreamInflater(publicStream(compress), compress, sink, this.#bytesMax)
  }
}

/**
 * Tries the native handle with a payload that outgrows nothing, one in two parts, and a corrupt one.
 *
 * @returns null if it behaves, else what it did instead.
 */
export function handleSelfTest(compress: 'zlib-stream' | 'zstd-stream'): string | null {
  try {
    const payload = Buffer.from('gateway self-test '.repeat(40))
    const seen: string[] = []
    let failures = 0
    const sink: FrameSink = {
      onPayload: (bytes, start, end) => seen.push(bytes.toString('latin1', start, end)),
      onBadFrame: () => failures++,
    }
    const inflater = new HandleInflater(compress, sink, 1 << 16)
    const write = (message: Buffer): void => inflater.write(message, 0, message.length)
    write(flushed(compress, payload))
    write(Buffer.alloc(64, 0xa5))
    if (compress === 'zlib-stream') write(Buffer.from([0xff, 0, 0, 0xff, 0xff]))
    inflater.close()
    if (seen[0] !== payload.toString('latin1')) return 'the payload did not come back'
    return failures === 1 && seen.length === 1 ? null : 'corrupt input was not reported'
  } catch (error) {
    return messageOf(error)
  }
}

/** `payload` as a server's first message would carry it: flushed, the stream left open. */
function flushed(compress: 'zlib-stream' | 'zstd-stream', payload: Buffer): Buffer {
  return compress === 'zlib-stream'
    ? zlib.deflateSync(payload, { finishFlush: zlib.constants.Z_SYNC_FLUSH })
    : zlib.zstdCompressSync(payload)
}

function publicStream(compress: 'zlib-stream' | 'zstd-stream'): zlib.Inflate | zlib.ZstdDecompress {
  return compress === 'zlib-stream'
    ? zlib.createInflate({ flush: zlib.constants.Z_SYNC_FLUSH })
    : zlib.createZstdDecompress({ params: ZSTD_PARAMS })
}

function nativeStream(compress: 'zlib-stream' | 'zstd-stream'): NativeStream {
  // The smallest chunk size: the handle writes to our buffer, the stream's own one is never used.
  const stream =
    compress === 'zlib-stream'
      ? zlib.createInflate({ chunkSize: 64 })
      : zlib.createZstdDecompress({ chunkSize: 64, params: ZSTD_PARAMS })
  return stream as unknown as NativeStream
}

function grown(full: Buffer): Buffer {
  const larger = Buffer.allocUnsafeSlow(full.length * 2)
  full.copy(larger)
  return larger
}
