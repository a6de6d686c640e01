/**
 * The opening handshake over HTTP/1.1. See RFC 6455 §4.
 *
 *   GET /?v=10&encoding=etf HTTP/1.1          HTTP/1.1 101 Switching Protocols
 *   Upgrade: websocket                   ──►  Upgrade: websocket
 *   Sec-WebSocket-Key: <16 random bytes>      Sec-WebSocket-Accept: <SHA-1 of key and GUID>
 */
import { createHash, randomBytes } from 'node:crypto'

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
/** Node's own bound for the headers of a response. */
const HEADER_BYTES_MAX = 16 * 1024
const HEADER_END = '\r\n\r\n'

export class Upgrade {
  /** What is sent. */
  readonly request: string
  readonly #accept: string
  #head = ''

  constructor(url: URL, userAgent: string) {
    const key = randomBytes(16).toString('base64')
    this.#accept = createHash('sha1')
      .update(key + GUID)
      .digest('base64')
    this.request = [
      `GET ${url.pathname}${url.search} HTTP/1.1`,
      `Host: ${url.host}`,
      'Upgrade: websocket',
      'Connection: Upgrade',
      `Sec-WebSocket-Key: ${key}`,
      'Sec-WebSocket-Version: 13',
      `User-Agent: ${userAgent}`,
      HEADER_END.slice(2),
    ].join('\r\n')
  }

  /**
   * Reads bytes[start, end) of the response.
   *
   * @returns the offset behind its headers, -1 while they are not whole.
   * @throws Error when the server does not agree; the message says why.
   */
  read(bytes: Buffer, start: number, end: number): number {
    const before = this.#head.length
    this.#head += bytes.toString('latin1', start, end)
    // The mark may have begun in the piece before.
    const mark = this.#head.indexOf(HEADER_END, Math.max(0, before - HEADER_END.length))
    const isTooLong = (mark === -1 ? this.#head.length : mark) > HEADER_BYTES_MAX
    if (isTooLong) throw new Error(`the headers of the answer exceed ${HEADER_BYTES_MAX} bytes`)
    if (mark === -1) return -1
    this.#check(this.#head.slice(0, mark))
    this.#head = ''
    return start + mark + HEADER_END.length - before
  }

  #check(head: string): void {
    const [statusLine = '', ...lines] = head.split('\r\n')
    const status = /^HTTP\/1\.[01] ([0-9]{3})(?: |$)/.exec(statusLine)?.[1]
    if (status === undefined) throw new Error('the answer is not HTTP/1.1')
    if (status !== '101') throw new Error(`unexpected server response: ${status}`)
    const headers = new Map<string, string>()
    for (const line of lines) {
      const colon = line.indexOf(':')
      if (colon > 0) headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim())
    }
    if (headers.get('upgrade')?.toLowerCase() !== 'websocket') {
      throw new Error('the answer upgrades to something else than websocket')
    }
    if (!/(^|[\s,])upgrade([\s,]|$)/i.test(headers.get('connection') ?? '')) {
      throw new Error('the answer lacks Connection: Upgrade')
    }
    if (headers.get('sec-websocket-accept') !== this.#accept) {
      throw new Error('the answer belongs to another handshake: Sec-WebSocket-Accept is wrong')
    }
    if (headers.has('sec-websocket-extensions') || headers.has('sec-websocket-protocol')) {
      throw new Error('the answer names an extension or protocol that was not asked for')
    }
  }
}
