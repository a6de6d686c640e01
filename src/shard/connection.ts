/**
 * One websocket to Discord: ws → inflate → (JSON → ETF) → payloads as callbacks.
 * A connection is used once; after close() or a final callback it says nothing more.
 */
import { createSecureContext } from 'node:tls'
import type { SecureContext } from 'node:tls'
import { WebSocket } from 'ws'
import type { ClientOptions } from 'ws'
import { messageOf } from '../base/index.ts'
import { codecOf } from './codec.ts'
import type { Codec } from './codec.ts'
import type { BadFrameCause, FrameSink } from './frame-sink.ts'
import type { Inflater, Inflaters } from './inflate.ts'
import type { ConnectionQuery } from './ports.ts'

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

/** What all connections of a process share. */
export interface Transport {
  readonly inflaters: Inflaters
  readonly userAgent: string
  /** Bound of one websocket message in bytes. */
  readonly frameBytesMax: number
  /** One for all shards: its set-up is a tenth of the cost of a TLS connection. */
  readonly secureContext: SecureContext
  readonly handshakeTimeoutMs: number
}

/** How long the server may take to answer our close frame; then the socket is destroyed. */
const CLOSE_TIMEOUT_MS = 1000

/** Documented options that the types of ws lack: its own, and the one it hands on to tls.connect(). */
interface SharedOptions {
  readonly closeTimeout: number
  readonly secureContext: SecureContext
}

export class Connection implements FrameSink {
  readonly #socket: WebSocket
  readonly #inflater: Inflater
  readonly #codec: Codec
  readonly #callbacks: ConnectionCallbacks
  readonly #ended: Promise<void>
  #isOpen = false
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
    const options: ClientOptions & SharedOptions = {
      perMessageDeflate: false,
      maxPayload: transport.frameBytesMax,
      handshakeTimeout: transport.handshakeTimeoutMs,
      closeTimeout: CLOSE_TIMEOUT_MS,
      followRedirects: false,
      headers: { 'User-Agent': transport.userAgent },
      secureContext: transport.secureContext,
    }
    const socket = new WebSocket(url, options)
    this.#socket = socket
    this.#inflater = transport.inflaters.open(query.compress, this)
    socket.on('open', () => {
      this.#isOpen = true
    })
    socket.on('message', (data) => {
      // ws gives a Buffer: binaryType is `nodebuffer`, its default.
      if (!this.#isDone) this.#inflater.write(data as Buffer)
    })
    socket.on('error', (error) => {
      this.#onError(error)
    })
    this.#ended = new Promise((resolve) => {
      socket.on('close', (closeCode, reason) => {
        this.#onClose(closeCode, reason.toString('utf8'))
        resolve()
      })
    })
  }

  /** One outgoing payload as it would be sent. */
  encode(op: number, d: unknown): Buffer {
    return this.#codec.encode(op, d)
  }

  send(payload: Buffer): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return
    this.#socket.send(payload, { binary: this.#codec.isBinary })
  }

  /**
   * Says goodbye with `closeCode`. No callback comes afterwards.
   *
   * @returns when the socket is gone, a second later at the latest.
   */
  close(closeCode: number): Promise<void> {
    this.#finish()
    if (this.#isOpen) this.#socket.close(closeCode)
    else this.#socket.terminate()
    return this.#ended
  }

  onPayload(bytes: Buffer, start: number, end: number): void {
    if (this.#isDone) return
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

  #onError(error: Error): void {
    if (this.#isDone) return
    const code = 'code' in error ? String(error.code) : ''
    if (code.startsWith('WS_ERR_')) {
      const isOversize = code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH'
      this.#callbacks.onBadFrame(isOversize ? 'oversize' : 'websocket', error.message)
    } else if (!this.#isOpen) {
      this.#finish()
      this.#callbacks.onUnreachable(messageOf(error))
    }
    // Any other error of an open socket is followed by `close` with 1006.
  }

  #onClose(closeCode: number, reason: string): void {
    if (this.#isDone) return
    this.#finish()
    if (this.#isOpen) this.#callbacks.onClosed(closeCode, reason)
    else this.#callbacks.onUnreachable('the connection was closed before it opened')
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
