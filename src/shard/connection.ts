/**
 * One connection to Discord: websocket → inflate → (JSON → ETF) → payloads as callbacks.
 * A connection is used once; after close() or a final callback it says nothing more.
 */
import { createSecureContext } from 'node:tls'
import type { SecureContext } from 'node:tls'
import { messageOf } from '../base/index.ts'
import type { Clock, Counter } from '../base/index.ts'
import { codecOf } from './codec.ts'
import type { Codec } from './codec.ts'
import type { BadFrameCause, FrameSink } from './frame-sink.ts'
import type { Inflater, Inflaters } from './inflate.ts'
import type { ConnectionQuery } from './ports.ts'
import { WebSocketClient } from './websocket/client.ts'
import type { ClientHandler } from './websocket/client.ts'
import type { FrameFault } from './websocket/frame-reader.ts'
import type { ReadTurns } from './websocket/read-turns.ts'

export interface ConnectionCallbacks {
  /** One whole ETF payload, version byte included: bytes[start, end), valid only during the call. */
  onPayload(bytes: Uint8Array, start: number, end: number): void
  /** The frame cannot be read; the caller closes. */
  onBadFrame(cause: BadFrameCause, message: string): void
  /** Final: the open connection has ended; 1006 without a close frame. */
  onClosed(closeCode: number, reason: string): void
  /** Final: the connection never opened. */
  onUnreachable(message: string): void
}

/** Bytes that came in: of messages, and of the payloads that they inflate to. */
export interface Traffic {
  readonly compressed: Counter
  readonly inflated: Counter
}

/** What all connections of a process share. */
export interface Transport {
  readonly inflaters: Inflaters
  readonly userAgent: string
  /** Bound of one websocket message in bytes. */
  readonly frameBytesMax: number
  /** One for all shards: its set-up is a tenth of the cost of a TLS connection. */
  readonly secureContext: SecureContext
  readonly turns: ReadTurns
  readonly handshakeTimeoutMs: number
  readonly clock: Clock
  readonly traffic: Traffic
}

/** How long the server may take to answer our close frame; then the socket is destroyed. */
const CLOSE_TIMEOUT_MS = 1000

export class Connection implements FrameSink, ClientHandler {
  readonly #socket: WebSocketClient
  readonly #inflater: Inflater
  readonly #codec: Codec
  readonly #callbacks: ConnectionCallbacks
  readonly #traffic: Traffic
  readonly #ended = Promise.withResolvers<void>()
  #isDone = false

  /** @param url with its query, which must agree with `query`. Throws SyntaxError for a bad URL. */
  constructor(
    url: string,
    query: ConnectionQuery,
    transport: Transport,
    callbacks: ConnectionCallbacks,
  ) {
    this.#codec = codecOf(query.encoding)
    this.#callbacks = callbacks
    this.#traffic = transport.traffic
    this.#socket = new WebSocketClient(
      url,
      {
        userAgent: transport.userAgent,
        messageBytesMax: transport.frameBytesMax,
        handshakeTimeoutMs: transport.handshakeTimeoutMs,
        closeTimeoutMs: CLOSE_TIMEOUT_MS,
        secureContext: transport.secureContext,
        turns: transport.turns,
        clock: transport.clock,
      },
      this,
    )
    this.#inflater = transport.inflaters.open(query.compress, this)
  }

  /** One outgoing payload as it would be sent. */
  encode(op: number, d: unknown): Buffer {
    return this.#codec.encode(op, d)
  }

  send(payload: Buffer): void {
    this.#socket.send(payload, this.#codec.isBinary)
  }

  /**
   * Says goodbye with `closeCode`. No callback comes afterwards.
   *
   * @returns when the socket is gone, a second later at the latest.
   */
  close(closeCode: number): Promise<void> {
    this.#finish()
    this.#socket.close(closeCode)
    return this.#ended.promise
  }

  onPayload(bytes: Buffer, start: number, end: number): void {
    if (this.#isDone) return
    this.#traffic.inflated.value += end - start
    const { toEtf } = this.#codec
    if (toEtf === null) {
      this.#callbacks.onPayload(bytes, start, end)
      return
    }
    let etf: Uint8Array
    try {
      etf = toEtf(bytes, start, end)
    } catch (error) {
      this.onBadFrame('malformed', messageOf(error))
      return
    }
    this.#callbacks.onPayload(etf, 0, etf.length)
  }

  onBadFrame(cause: BadFrameCause, message: string): void {
    if (!this.#isDone) this.#callbacks.onBadFrame(cause, message)
  }

  // What the websocket says.

  onMessage(bytes: Buffer, start: number, end: number): void {
    if (this.#isDone) return
    this.#traffic.compressed.value += end - start
    this.#inflater.write(bytes, start, end)
  }

  onFault(fault: FrameFault, message: string): void {
    this.onBadFrame(fault === 'oversize' ? 'oversize' : 'websocket', message)
  }

  onClosed(closeCode: number, reason: string): void {
    this.#ended.resolve()
    if (this.#isDone) return
    this.#finish()
    this.#callbacks.onClosed(closeCode, reason)
  }

  onUnreachable(message: string): void {
    this.#ended.resolve()
    if (this.#isDone) return
    this.#finish()
    this.#callbacks.onUnreachable(message)
  }

  #finish(): void {
    this.#isDone = true
    this.#inflater.close()
  }
}

/** @param ca PEM certificates to trust instead of Node's own; for tests and private simulators. */
export function sharedSecureContext(ca?: string): SecureContext {
  return createSecureContext(ca === undefined ? {} : { ca })
}
