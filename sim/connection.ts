/**
 * One websocket: HELLO, heartbeats, what the client sends, and the encoding of what it gets. The session it
 * reads is the Gateway's; the socket it writes to is the Transport's.
 */
import { deflateSync } from 'node:zlib'
import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import type { Clock, Timer } from '../src/base/index.ts'
import { Opcode, SEND_PAYLOAD_BYTES_MAX, SEND_WINDOW_MS } from '../src/discord/index.ts'
import type { Gateway } from './gateway.ts'
import { answerRequest, wholeListOf } from './requests.ts'
import type { ReplayEntry, Session, SessionReader } from './session.ts'
import { Transport } from './transport.ts'
import { createCompressor } from './wire/compressor.ts'
import type { Compression, Compressor } from './wire/compressor.ts'
import { jsonEnvelope, writeEtfEnvelope } from './wire/envelope.ts'
import type { EnvelopeFields } from './wire/envelope.ts'
import { readEtf } from './wire/etf-reader.ts'
import { BINARY, TEXT } from './wire/frame.ts'
import { isWireMap, toJson } from './wire/value.ts'
import type { WireMap, WireValue } from './wire/value.ts'

export interface ConnectionQuery {
  readonly encoding: 'etf' | 'json'
  readonly compress: Compression
  /** `Host` of the upgrade: where the client can reach this server. */
  readonly host: string
}

/** Discord's JSON has its keys in this order. */
const JSON_ORDER = ['t', 's', 'op', 'd']
/** Payload compression leaves short messages as text. */
const COMPRESSED_BYTES_MIN = 1024

export class Connection implements SessionReader {
  readonly query: ConnectionQuery
  readonly queryText: string
  readonly transport: Transport
  /** The session that this connection is authenticated for. */
  session: Session | null = null
  /** Next sequence to replay; null when live. */
  cursor: number | null = null
  /** Set by IDENTIFY with compress: true. */
  compressesPayloads = false
  /** Faults: */
  ackDelayMs = 0
  acksMissing = 0
  corruptNext = 0
  isClosed = false
  readonly #ws: WebSocket
  readonly #gateway: Gateway
  readonly #clock: Clock
  readonly #order: readonly string[]
  readonly #compressor: Compressor | null
  /** Monotonic ms of the sends of the last minute, oldest first. */
  #sends: number[] = []
  readonly #id: number
  #heartbeatAtMs = 0
  #heartbeatTimer: Timer | undefined
  /** The session whose numbers wait in the transport; it outlives `session`, so that a session's last flushes count. */
  #sentFor: Session | null = null
  #closeSent: { code: number; reason: string } | null = null

  constructor(gateway: Gateway, ws: WebSocket, socket: Duplex, query: ConnectionQuery) {
    this.#gateway = gateway
    this.#ws = ws
    this.#clock = gateway.clock
    this.#id = gateway.commands.newConnection()
    this.query = query
    this.queryText = `${query.encoding},${query.compress}`
    this.#order = gateway.options.order.split(',')
    this.#compressor =
      query.compress === 'none'
        ? null
        : createCompressor(query.compress, {
            level: gateway.options.compressionLevel,
            zstdFrames: gateway.takes('zstd-frames'),
          })
    this.transport = new Transport(
      socket,
      gateway.clock,
      gateway.options.stallMs,
      (sequence) => this.#onSent(sequence),
      () => this.drop('stalled reader'),
    )
    ws.on('message', (data: Buffer, isBinary: boolean) => this.#onMessage(data, isBinary))
    ws.on('close', (code: number) => this.#onClose(code))
    ws.on('ping', (data: Buffer) => this.transport.send(10, data, -1))
    ws.on('error', () => undefined)
  }

  hello(): void {
    const { heartbeatIntervalMs } = this.#gateway.options
    this.sendControl(Opcode.Hello, { heartbeat_interval: heartbeatIntervalMs, _trace: [TRACE] })
    this.#heartbeatAtMs = this.#clock.monotonic()
    this.#watchHeartbeat()
  }

  /** A payload that is no dispatch. @param d undefined leaves the key out. */
  sendControl(op: number, d: WireMap | boolean | null | undefined): void {
    const empty = this.#gateway.takes('omit-nulls') ? undefined : null
    const isSequenced =
      (op === Opcode.Reconnect || op === Opcode.InvalidSession) &&
      this.#gateway.takes('control-sequence')
    const s = isSequenced ? (this.session?.sequence ?? 0) : empty
    let body: Buffer | string | null | undefined
    if (d === undefined) body = undefined
    else if (this.query.encoding === 'etf') body = this.#gateway.writer.term(d)
    else body = toJson(d)
    this.#send({ op, d: body, s, t: empty }, -1)
  }

  /** Called by the session for each event; nothing is sent while older ones are still replayed. */
  dispatch(entry: ReplayEntry): void {
    if (this.cursor !== null || this.#closeSent !== null) return
    this.sendEntry(entry)
  }

  sendEntry(entry: ReplayEntry): void {
    if (this.transport.isSilent || this.isClosed) return
    const { s, event } = entry
    const d = this.query.encoding === 'etf' ? event.etf : event.json
    entry.ledger.writes++
    this.#sentFor = this.session
    this.#send({ op: Opcode.Dispatch, d, s, t: event.t }, s)
  }

  /** Bytes as they are, in place of a payload: faults. */
  sendRaw(payload: Uint8Array): void {
    this.#sendPayload(payload, this.query.encoding === 'etf' ? BINARY : TEXT, -1)
  }

  /** Closes with a close frame; from now on nothing more is sent. */
  close(code: number, reason: string): void {
    if (this.#closeSent !== null || this.isClosed) return
    this.#closeSent = { code, reason }
    this.transport.afterPieces(() => this.#ws.close(code, reason))
    // The client may take its time to answer; from now on it gets nothing more here.
    this.#gateway.detach(this)
  }

  /** Ends TCP without a word. */
  drop(reason: string): void {
    this.#closeSent ??= { code: 1006, reason }
    this.transport.drop()
  }

  /** Half open: the socket stays, nothing comes and nothing is heard. */
  silence(): void {
    this.#clock.clearTimeout(this.#heartbeatTimer)
    this.transport.silence()
    this.#gateway.detach(this)
  }

  /** Another connection has resumed this one's session. */
  detached(): void {
    this.session = null
    this.#sentFor = null
    this.drop('session resumed elsewhere')
  }

  #send(fields: EnvelopeFields, sequence: number): void {
    if (this.query.encoding === 'etf') {
      const writer = this.#gateway.writer
      writeEtfEnvelope(writer, this.#order, fields)
      this.#sendPayload(writer.bytes.subarray(0, writer.length), BINARY, sequence)
    } else {
      this.#sendPayload(Buffer.from(jsonEnvelope(JSON_ORDER, fields)), TEXT, sequence)
    }
  }

  #sendPayload(payload: Uint8Array, opcode: number, sequence: number): void {
    if (this.transport.isSilent || this.isClosed) return
    let bytes = payload
    let kind = opcode
    if (this.#compressor !== null) {
      bytes = this.#compressor.compress(payload)
      kind = BINARY
    } else if (this.compressesPayloads && payload.length >= COMPRESSED_BYTES_MIN) {
      bytes = deflateSync(payload)
      kind = BINARY
    }
    if (this.corruptNext > 0) {
      this.corruptNext--
      bytes = corrupted(bytes)
    }
    this.transport.send(kind, bytes, sequence)
  }

  #onSent(sequence: number): void {
    this.#sentFor?.sent(sequence)
  }

  #onMessage(data: Buffer, isBinary: boolean): void {
    if (this.transport.isSilent || this.#closeSent !== null) return
    if (this.#isTooFast()) return this.close(4008, 'Rate limited.')
    if (data.length > SEND_PAYLOAD_BYTES_MAX) return this.#decodeError('the payload is too large')
    let payload: WireValue
    try {
      if (this.query.encoding === 'etf' && !isBinary) throw new SyntaxError('text frame')
      payload =
        this.query.encoding === 'etf'
          ? readEtf(data)
          : (JSON.parse(data.toString('utf8')) as WireValue)
    } catch {
      return this.#decodeError('it cannot be parsed')
    }
    if (!isWireMap(payload)) return this.#decodeError('it is not a map')
    if (typeof payload['op'] !== 'number') return this.#decodeError('op is not a number')
    const { op, d } = payload as { op: number; d?: WireValue }
    this.#gateway.commands.record({
      atMs: this.#clock.monotonic(),
      connection: this.#id,
      shard: this.session?.shardId ?? null,
      op,
      wholeListOf: wholeListOf(op, d),
    })
    this.#onPayload(op, d)
  }

  #onPayload(op: number, d: WireValue | undefined): void {
    switch (op) {
      case Opcode.Heartbeat:
        return this.#onHeartbeat(d)
      case Opcode.Identify:
        if (this.session !== null) return this.close(4005, 'Already authenticated.')
        return this.#gateway.identify(this, d)
      case Opcode.Resume:
        if (this.session !== null) return this.close(4005, 'Already authenticated.')
        return this.#gateway.resume(this, d)
      case Opcode.PresenceUpdate:
      case Opcode.VoiceStateUpdate:
      case Opcode.RequestGuildMembers:
      case Opcode.RequestSoundboardSounds:
      case Opcode.RequestChannelInfo:
        if (this.session === null) return this.close(4003, 'Not authenticated.')
        if (!answerRequest(this.#gateway, this.session, op, d)) {
          this.close(4001, 'Unknown opcode.')
        }
        return
      default:
        return this.close(4001, 'Unknown opcode.')
    }
  }

  #onHeartbeat(d: WireValue | undefined): void {
    if (d !== null && d !== undefined && typeof d !== 'number') {
      return this.#decodeError('d of a heartbeat is not an integer')
    }
    this.#heartbeatAtMs = this.#clock.monotonic()
    if (this.session !== null && typeof d === 'number') {
      this.session.confirmed = Math.max(this.session.confirmed, d)
      if (this.#gateway.options.replayTrim) this.session.trim(d)
    }
    if (this.acksMissing > 0) {
      this.acksMissing--
      return
    }
    if (this.ackDelayMs > 0) this.#clock.setTimeout(() => this.#ack(), this.ackDelayMs)
    else this.#ack()
  }

  #ack(): void {
    if (this.#closeSent !== null) return
    this.sendControl(Opcode.HeartbeatAck, this.#gateway.takes('ack-empty-map') ? {} : null)
  }

  #watchHeartbeat(): void {
    const { heartbeatIntervalMs, heartbeatTimeoutMs } = this.#gateway.options
    const limitMs =
      heartbeatTimeoutMs > 0
        ? heartbeatTimeoutMs
        : Math.max(2 * heartbeatIntervalMs, HEARTBEAT_TIMEOUT_MS_MIN)
    const leftMs = this.#heartbeatAtMs + limitMs - this.#clock.monotonic()
    this.#heartbeatTimer = this.#clock.setTimeout(
      () => {
        if (this.isClosed) return
        if (this.#clock.monotonic() - this.#heartbeatAtMs < limitMs) return this.#watchHeartbeat()
        if (this.session !== null) this.#gateway.endSession(this.session, 'timed_out', null)
        this.close(4009, 'Session timed out.')
      },
      Math.max(1, leftMs),
    )
  }

  /** Sliding log: never more than `sendsMax` in any 60 s. See [Discord Docs/Gateway#rate-limiting]. */
  #isTooFast(): boolean {
    const now = this.#clock.monotonic()
    this.#sends.push(now)
    const first = this.#sends.findIndex((at) => at > now - SEND_WINDOW_MS)
    if (first > 0) this.#sends = this.#sends.slice(first)
    return this.#sends.length > this.#gateway.options.sendsMax
  }

  #decodeError(reason: string): void {
    this.close(4002, `Error while decoding payload: ${reason}.`)
  }

  #onClose(code: number): void {
    this.isClosed = true
    this.transport.close()
    this.#compressor?.close()
    this.#clock.clearTimeout(this.#heartbeatTimer)
    this.#gateway.onClose(this, this.#closeSent?.code ?? code, this.#closeSent)
  }
}

const HEARTBEAT_TIMEOUT_MS_MIN = 20_000
const TRACE = '["gateway-prd-sim-1",{"micros":0.0}]'

/**
 * The same length, and surely unreadable. Each message begins at a byte, behind a flush: its first bits are
 * a block header, and type 3 is invalid in Deflate (RFC 1951 §3.2.3) and reserved in Zstandard (RFC 8878
 * §3.1.1.2). Damage inside a block may decode to something else: neither format has a checksum before its end.
 */
function corrupted(bytes: Uint8Array): Buffer {
  const copy = Buffer.from(bytes)
  if (copy.length > 0) copy[0] = copy[0]! | 0x07
  return copy
}
