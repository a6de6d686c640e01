/** One connection of the generator: Discord's handshake in full, and events from frames made beforehand. */
import type { Duplex } from 'node:stream'
import { decodeTerm } from '../../src/etf/index.ts'
import type { JsonObject } from '../../sim/index.ts'
import { frameOf } from '../../sim/index.ts'
import {
  type Compression,
  controlFrame,
  type Encoding,
  type Frame,
  JSON_SEQUENCE_BASE,
  writeFrame,
} from './frames.ts'
import type { Group } from './messages.ts'
import { monotonicUs } from './monotonic.ts'

const HEARTBEAT_INTERVAL_MS = 41_250
const CLOSE = 8
const BATCH_BYTES = 32 * 1024

/** What outlives a connection. */
export interface LeanSession {
  readonly id: string
  sequence: number
}

export interface LeanHost {
  readonly compression: Compression
  readonly resumeUrl: string
  identified(
    connection: LeanConnection,
    shardId: number,
  ): { session: LeanSession; cycle: readonly Frame[] }
  resumed(
    connection: LeanConnection,
    sessionId: string,
  ): { session: LeanSession; cycle: readonly Frame[] } | null
  heartbeatLate(ms: number): void
}

export class LeanConnection {
  readonly group: Group
  readonly #socket: Duplex
  readonly #encoding: Encoding
  readonly #host: LeanHost
  shardId = -1
  session: LeanSession = { id: '', sequence: 0 }
  isStreaming = false
  sent = 0
  #cycle: readonly Frame[] = []
  #next = 0
  #isFirst = true
  #input: Buffer = Buffer.alloc(0)
  #beatAt = 0

  constructor(group: Group, socket: Duplex, encoding: Encoding, host: LeanHost) {
    this.group = group
    this.#socket = socket
    this.#encoding = encoding
    this.#host = host
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
  }

  get isOpen(): boolean {
    return !this.#socket.destroyed && this.#socket.writable
  }

  /** Begins to stream. The floor neither identifies nor beats. */
  begin(shardId: number, session: LeanSession, cycle: readonly Frame[]): void {
    this.shardId = shardId
    this.session = session
    this.#cycle = cycle
    this.isStreaming = true
  }

  supersede(): void {
    this.isStreaming = false
    this.#socket.destroy()
  }

  hello(): void {
    this.#control({ t: null, s: null, op: 10, d: { heartbeat_interval: HEARTBEAT_INTERVAL_MS } })
  }

  reconnect(): void {
    this.#control({ t: null, s: null, op: 7, d: null })
  }

  /** One event in a write of its own, as Discord sends them. */
  sendOne(): void {
    const frame = this.#cycle[this.#next]!
    const out = Buffer.allocUnsafe(frame.bytes.length)
    this.#fill(frame, out, 0)
    this.#socket.write(out)
  }

  /** Some events in one write, up to `max`. @returns how many */
  sendMany(max: number): number {
    let bytes = 0
    let count = 0
    for (let next = this.#next; count < max; count++) {
      bytes += this.#cycle[next]!.bytes.length
      if (count > 0 && bytes > BATCH_BYTES) {
        bytes -= this.#cycle[next]!.bytes.length
        break
      }
      next = next + 1 === this.#cycle.length ? 0 : next + 1
    }
    const out = Buffer.allocUnsafe(bytes)
    for (let i = 0, pos = 0; i < count; i++) pos = this.#fill(this.#cycle[this.#next]!, out, pos)
    this.#socket.write(out)
    return count
  }

  /** Whether the socket takes more. */
  get needsDrain(): boolean {
    return this.#socket.writableNeedDrain
  }

  onDrain(fn: () => void): void {
    this.#socket.once('drain', fn)
  }

  #fill(frame: Frame, out: Buffer, pos: number): number {
    this.#next = this.#next + 1 === this.#cycle.length ? 0 : this.#next + 1
    this.sent++
    const sequence = ++this.session.sequence
    return writeFrame(frame, this.#encoding, out, pos, this.shardId, sequence, monotonicUs())
  }

  /** The cycle begins anew behind it: a cycle's matches count back over its own frames only. */
  #control(payload: JsonObject): void {
    if (!this.isOpen) return
    this.#socket.write(controlFrame(payload, this.#encoding, this.#host.compression, this.#isFirst))
    this.#isFirst = false
    this.#next = 0
  }

  #read(chunk: Buffer): void {
    this.#input = this.#input.length === 0 ? chunk : Buffer.concat([this.#input, chunk])
    for (;;) {
      const input = this.#input
      if (input.length < 6) return
      const short = input[1]! & 0x7f
      const headBytes = short === 126 ? 8 : 6
      if (short === 127) throw new Error('a client sends no frame of 64 KiB')
      if (input.length < headBytes) return
      const length = short === 126 ? input.readUInt16BE(2) : short
      if (input.length < headBytes + length) return
      const mask = input.subarray(headBytes - 4, headBytes)
      const payload = Buffer.from(input.subarray(headBytes, headBytes + length))
      for (let i = 0; i < length; i++) payload[i]! ^= mask[i & 3]!
      const opcode = input[0]! & 0x0f
      this.#input = input.subarray(headBytes + length)
      if (opcode === CLOSE) {
        this.isStreaming = false
        this.#socket.end(frameOf(CLOSE, payload.subarray(0, 2)))
        return
      }
      if (opcode === 1 || opcode === 2) this.#take(payload)
    }
  }

  #take(payload: Buffer): void {
    const { op, d } = (
      this.#encoding === 'etf' ? decodeTerm(payload) : JSON.parse(payload.toString())
    ) as { op: number; d: Record<string, unknown> }
    if (op === 1) this.#beat()
    else if (op === 2) this.#identify(Number((d.shard as number[])[0]))
    else if (op === 6) this.#resume(String(d.session_id), Number(d.seq))
  }

  #beat(): void {
    const now = performance.now()
    if (this.#beatAt > 0) this.#host.heartbeatLate(now - this.#beatAt - HEARTBEAT_INTERVAL_MS)
    this.#beatAt = now
    this.#control({ t: null, s: null, op: 11, d: null })
  }

  #identify(shardId: number): void {
    const { session, cycle } = this.#host.identified(this, shardId)
    session.sequence = 1
    this.#control({
      t: 'READY',
      s: this.#wire(1),
      op: 0,
      d: {
        v: 10,
        user: { id: 1_100_000_000_000_000_001n, username: 'bench', bot: true },
        session_id: session.id,
        resume_gateway_url: this.#host.resumeUrl,
        shard: [shardId, 1],
        guilds: [],
        application: { id: 1_100_000_000_000_000_001n, flags: 0 },
      },
    })
    this.begin(shardId, session, cycle)
  }

  /** Replays by sending the same sequences again; what they hold does not matter. */
  #resume(sessionId: string, sequence: number): void {
    const known = this.#host.resumed(this, sessionId)
    if (known === null) {
      this.#control({ t: null, s: null, op: 9, d: false })
      return
    }
    const { session, cycle } = known
    const last = session.sequence
    const seen = this.#encoding === 'json' ? sequence - JSON_SEQUENCE_BASE : sequence
    session.sequence = seen
    this.begin(this.shardId, session, cycle)
    while (session.sequence < last) {
      this.sendOne()
      this.sent--
    }
    this.#control({ t: 'RESUMED', s: null, op: 0, d: {} })
  }

  #wire(sequence: number): number {
    return this.#encoding === 'json' ? JSON_SEQUENCE_BASE + sequence : sequence
  }
}
