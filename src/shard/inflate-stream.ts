/**
 * The documented stream API of node:zlib behind the Inflater interface: ten times slower than the native
 * handle, used where its self-test fails. One message is in flight at a time, so that output and message
 * stay matched.
 */
import type { Inflate, ZstdDecompress } from 'node:zlib'
import type { FrameSink } from './frame-sink.ts'
import { MessageParts } from './message-parts.ts'

export class StreamInflater {
  readonly #stream: Inflate | ZstdDecompress
  readonly #parts: MessageParts
  readonly #sink: FrameSink
  readonly #bytesMax: number
  readonly #waiting: Buffer[] = []
  #output: Buffer[] = []
  #outputBytes = 0
  #isBusy = false
  #isClosed = false

  constructor(
    stream: Inflate | ZstdDecompress,
    compress: 'zlib-stream' | 'zstd-stream',
    sink: FrameSink,
    bytesMax: number,
  ) {
    this.#stream = stream
    this.#parts = new MessageParts(compress, bytesMax)
    this.#sink = sink
    this.#bytesMax = bytesMax
    stream.on('data', (chunk: Buffer) => {
      this.#collect(chunk)
    })
    stream.on('error', (error: Error) => {
      this.#fail('corrupt', error.message)
    })
    // A stream that ended takes no more, and a gateway's stream never ends.
    stream.on('end', () => {
      this.#fail('corrupt', 'the stream ended')
    })
  }

  write(bytes: Buffer, start: number, end: number): void {
    if (this.#isClosed) return
    if (!this.#parts.push(bytes, start, end)) {
      if (this.#parts.isOversize) this.#fail('oversize', 'a message never ends')
      return
    }
    const parts = this.#parts.take()
    this.#waiting.push(parts.length === 1 ? parts[0]! : Buffer.concat(parts))
    this.#pump()
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#waiting.length = 0
    this.#stream.destroy()
  }

  #pump(): void {
    if (this.#isBusy || this.#isClosed) return
    const message = this.#waiting.shift()
    if (message === undefined) return
    this.#isBusy = true
    this.#stream.write(message, (error) => {
      if (error || this.#isClosed) return
      // Reads, and so emits, what is buffered beyond the flow.
      while (this.#stream.read() !== null);
      this.#deliver()
      this.#isBusy = false
      this.#pump()
    })
  }

  #collect(chunk: Buffer): void {
    if (this.#isClosed) return
    this.#output.push(chunk)
    this.#outputBytes += chunk.length
    if (this.#outputBytes > this.#bytesMax) {
      this.#fail('oversize', 'the payload inflates beyond the bound')
    }
  }

  #deliver(): void {
    if (this.#isClosed || this.#outputBytes === 0) return
    const bytes = this.#output.length === 1 ? this.#output[0]! : Buffer.concat(this.#output)
    this.#output = []
    this.#outputBytes = 0
    this.#sink.onPayload(bytes, 0, bytes.length)
  }

  #fail(cause: 'corrupt' | 'oversize', message: string): void {
    if (this.#isClosed) return
    this.close()
    this.#sink.onBadFrame(cause, message)
  }
}
