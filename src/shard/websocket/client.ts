/**
 * A websocket client for many connections that mostly receive: no stream objects between socket and reader.
 * All sockets read into one buffer, which the reader empties before the next read (`onread` of node:net);
 * `ws` costs up to 1.6 times as much at one frame per read. bench/README.md#websocket
 *
 *   socket ──onread──► shared buffer ──► Upgrade (once) ──► FrameReader ──► handler
 */
import { connect as connectTcp, isIP } from 'node:net'
import type { OnReadOpts, Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { SecureContext } from 'node:tls'
import { messageOf } from '../../base/index.ts'
import type { Clock, Timer } from '../../base/index.ts'
import { CLOSE_CODE_ABNORMAL, CLOSE_CODE_ABSENT, FrameOpcode } from './frame.ts'
import { FrameReader } from './frame-reader.ts'
import type { FrameFault, FrameHandler } from './frame-reader.ts'
import { clientFrame, closeFrame } from './frame-writer.ts'
import type { ReadTurns, WaitingSocket } from './read-turns.ts'
import { Upgrade } from './upgrade.ts'

export interface ClientOptions {
  readonly userAgent: string
  /** Bound of one message in bytes. */
  readonly messageBytesMax: number
  /** From the first packet to the last header of the answer. */
  readonly handshakeTimeoutMs: number
  /** How long the server may take to answer our close frame, and to end; then the socket is destroyed. */
  readonly closeTimeoutMs: number
  /** For wss: one for all connections, its set-up is a tenth of the cost of a TLS connection. */
  readonly secureContext: SecureContext
  /** One for all connections: what they read in one turn of the event loop is bounded together. */
  readonly turns: ReadTurns
  readonly clock: Clock
}

export interface ClientHandler {
  /** One whole message: bytes[start, end), valid only during the call. */
  onMessage(bytes: Buffer, start: number, end: number): void
  /** The stream cannot be read on; the owner closes. */
  onFault(fault: FrameFault, message: string): void
  /** Final: the open connection is gone; 1006 without a close frame. */
  onClosed(closeCode: number, reason: string): void
  /** Final: the connection never opened. */
  onUnreachable(message: string): void
}

/** What one read takes at most; a TLS record has 16 KiB, a socket's receive buffer often more. */
const READ_BYTES = 64 * 1024
const readBuffer = Buffer.allocUnsafeSlow(READ_BYTES)

export class WebSocketClient implements FrameHandler, WaitingSocket {
  readonly #handler: ClientHandler
  readonly #options: ClientOptions
  readonly #reader: FrameReader
  readonly #socket: Socket
  #upgrade: Upgrade | null
  /** Came when the turn was full. The socket is paused then, so it is what one read of TLS brings at most. */
  readonly #kept: Buffer[] = []
  #timer: Timer | undefined
  #failure = ''
  #isClosing = false
  #closeCode = CLOSE_CODE_ABNORMAL
  #closeReason = ''

  /** @throws TypeError for what is no URL, SyntaxError for one that is neither ws nor wss. */
  constructor(url: string, options: ClientOptions, handler: ClientHandler) {
    const target = new URL(url)
    if (target.protocol !== 'ws:' && target.protocol !== 'wss:') {
      throw new SyntaxError(`${target.protocol}// is neither ws:// nor wss://`)
    }
    this.#handler = handler
    this.#options = options
    this.#reader = new FrameReader(this, options.messageBytesMax)
    this.#upgrade = new Upgrade(target, options.userAgent)
    this.#socket = openSocket(target, options.secureContext, {
      buffer: readBuffer,
      callback: (bytes) => this.#onRead(bytes),
    })
    this.#socket.setNoDelay(true)
    this.#socket.once(target.protocol === 'wss:' ? 'secureConnect' : 'connect', () => {
      this.#socket.write(this.#upgrade?.request ?? '')
    })
    this.#socket.on('error', (error) => {
      this.#failure ||= messageOf(error)
    })
    this.#socket.once('close', () => {
      this.#onSocketClosed()
    })
    this.#timer = options.clock.setTimeout(() => {
      this.#abandon(`no handshake within ${options.handshakeTimeoutMs} ms`)
    }, options.handshakeTimeoutMs)
  }

  get isOpen(): boolean {
    return this.#upgrade === null && !this.#isClosing
  }

  send(payload: Uint8Array, isBinary: boolean): void {
    if (!this.isOpen) return
    this.#socket.write(clientFrame(isBinary ? FrameOpcode.Binary : FrameOpcode.Text, payload))
  }

  /** Says goodbye and waits for the answer, for closeTimeoutMs at most; the end comes as a callback. */
  close(closeCode: number): void {
    if (this.#upgrade !== null) {
      this.terminate()
    } else if (!this.#isClosing) {
      this.#sayClose(closeFrame(closeCode))
    }
  }

  /** Ends at once, without a word. */
  terminate(): void {
    this.#reader.stop()
    this.#socket.destroy()
  }

  /** What was kept is read, and the socket goes on. */
  goOn(): void {
    this.#readKept()
    this.#socket.resume()
  }

  onMessage(bytes: Buffer, start: number, end: number): void {
    this.#handler.onMessage(bytes, start, end)
  }

  onPing(bytes: Buffer, start: number, end: number): void {
    if (this.isOpen) {
      this.#socket.write(clientFrame(FrameOpcode.Pong, bytes.subarray(start, end)))
    }
  }

  /** Either the answer to ours, or the server's own goodbye, which is answered. */
  onCloseFrame(closeCode: number, reason: string): void {
    this.#closeCode = closeCode
    this.#closeReason = reason
    if (!this.#isClosing) {
      const isBare = closeCode === CLOSE_CODE_ABSENT
      this.#sayClose(
        isBare ? clientFrame(FrameOpcode.Close, new Uint8Array(0)) : closeFrame(closeCode),
      )
    }
    this.#socket.end()
  }

  onFault(fault: FrameFault, message: string): void {
    this.#handler.onFault(fault, message)
  }

  /** @returns whether the socket may read on; false pauses it. */
  #onRead(byteCount: number): boolean {
    const isWaiting = this.#kept.length > 0
    if (!isWaiting && this.#options.turns.mayRead(byteCount)) {
      this.#take(readBuffer, byteCount)
      return true
    }
    this.#kept.push(Buffer.copyBytesFrom(readBuffer, 0, byteCount))
    if (!isWaiting) this.#options.turns.wait(this)
    return false
  }

  #readKept(): void {
    for (const bytes of this.#kept.splice(0)) this.#take(bytes, bytes.length)
  }

  #take(bytes: Buffer, byteCount: number): void {
    let start = 0
    if (this.#upgrade !== null) {
      try {
        start = this.#upgrade.read(bytes, 0, byteCount)
      } catch (error) {
        this.#abandon(messageOf(error))
        return
      }
      if (start === -1) return
      this.#upgrade = null
      this.#options.clock.clearTimeout(this.#timer)
    }
    this.#reader.read(bytes, start, byteCount)
  }

  #sayClose(frame: Buffer): void {
    this.#isClosing = true
    this.#socket.write(frame)
    this.#timer = this.#options.clock.setTimeout(() => {
      this.terminate()
    }, this.#options.closeTimeoutMs)
  }

  /** Before it was open. */
  #abandon(why: string): void {
    this.#failure = why
    this.terminate()
  }

  #onSocketClosed(): void {
    this.#readKept()
    this.#options.clock.clearTimeout(this.#timer)
    this.#reader.stop()
    if (this.#upgrade === null) this.#handler.onClosed(this.#closeCode, this.#closeReason)
    else this.#handler.onUnreachable(this.#failure || 'the connection was closed before it opened')
  }
}

function openSocket(url: URL, secureContext: SecureContext, onread: OnReadOpts): Socket {
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  if (url.protocol === 'ws:') {
    return connectTcp({ host, port: url.port === '' ? 80 : Number(url.port), onread })
  }
  return connectTls({
    host,
    port: url.port === '' ? 443 : Number(url.port),
    secureContext,
    // An address is no server name. See RFC 6066 §3.
    ...(isIP(host) === 0 ? { servername: host } : {}),
    // Documented for net.connect(), whose options tls.connect() takes as well.
    ...({ onread } as object),
  })
}
