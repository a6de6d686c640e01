/**
 * What `pg` takes for a socket: passes the wire protocol to the worker in which PGlite runs.
 *
 *   pg → frontend messages → cut behind Sync, Query and the startup packet → worker → backend messages → pg
 *
 * @see PostgreSQL "Message Formats": type byte, int32 length (counts itself), body; startup has no type.
 */
import { Duplex } from 'node:stream'

const SYNC = 0x53 // 'S'
const QUERY = 0x51 // 'Q'
const FLUSH = 0x48 // 'H'
const TERMINATE = 0x58 // 'X'

/**
 * Hands messages to the database: whole ones, in groups that end with Sync, Query or Flush.
 *
 * @param ends  where each group ends in `bytes`. After an error PGlite drops the rest of what it was given
 *              at once, so it gets one group at a time.
 */
export type SendMessages = (bytes: Uint8Array<ArrayBuffer>, ends: number[]) => void

export class EmbeddedStream extends Duplex {
  readonly #send: SendMessages
  #pending: Buffer = Buffer.alloc(0)
  #isStarted = false

  /** @param send hands whole messages to the worker; answers come back through `receive`, in order. */
  constructor(send: SendMessages) {
    super()
    this.#send = send
  }

  /** net.Socket's, as pg calls it. */
  connect(): this {
    process.nextTick(() => this.emit('connect'))
    return this
  }

  setNoDelay(): this {
    return this
  }

  setKeepAlive(): this {
    return this
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }

  /** Bytes from the database. */
  receive(bytes: Uint8Array): void {
    this.push(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
  }

  override _read(): void {
    // Answers are pushed when they come; pg reads everything at once.
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#take([chunk])
    done()
  }

  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    this.#take(chunks.map(({ chunk }) => chunk))
    done()
  }

  override _final(done: () => void): void {
    this.push(null)
    done()
  }

  #take(chunks: Buffer[]): void {
    const bytes =
      this.#pending.length === 0 && chunks.length === 1
        ? (chunks[0] as Buffer)
        : Buffer.concat([this.#pending, ...chunks])
    let pos = 0
    const ends: number[] = []
    for (;;) {
      const header = this.#isStarted ? 5 : 4
      if (bytes.length - pos < header) break
      const end = pos + header - 4 + bytes.readInt32BE(pos + header - 4)
      if (end > bytes.length) break
      const type = this.#isStarted ? bytes[pos] : QUERY
      this.#isStarted = true
      pos = end
      if (type === TERMINATE) {
        this.push(null)
        break
      }
      if (type === SYNC || type === QUERY || type === FLUSH) ends.push(end)
    }
    // Copied: the worker takes the memory, and pg reuses its own.
    const cut = ends.at(-1) ?? 0
    if (cut > 0) this.#send(new Uint8Array(bytes.subarray(0, cut)), ends)
    this.#pending = cut === bytes.length ? Buffer.alloc(0) : Buffer.from(bytes.subarray(cut))
  }
}
