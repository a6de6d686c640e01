/** The two encodings of a connection: what is sent, and how a received payload becomes ETF. */
import { encodeTerm } from '../etf/index.ts'
import { etfPayload } from './json-upstream.ts'
import type { ConnectionQuery } from './ports.ts'

export interface Codec {
  /** One outgoing payload; its byte length counts against Discord's 4,096. */
  encode(op: number, d: unknown): Buffer
  /** Sent as a binary frame (else as text). */
  readonly isBinary: boolean
  /** The ETF of a received payload, null when it is ETF already. Throws on what is no payload. */
  readonly toEtf: ((bytes: Buffer, start: number, end: number) => Uint8Array) | null
}

const ETF: Codec = {
  encode: (op, d) => {
    // Keys must be binaries, and strict servers refuse the tags 118 and 119: atoms as erlpack sends them.
    const term = encodeTerm({ op, d }, { atoms: 100, keys: 'binary' })
    return Buffer.from(term.buffer, term.byteOffset, term.byteLength)
  },
  isBinary: true,
  toEtf: null,
}

const JSON_TEXT: Codec = {
  encode: (op, d) => Buffer.from(JSON.stringify({ op, d })),
  isBinary: false,
  toEtf: etfPayload,
}

export function codecOf(encoding: ConnectionQuery['encoding']): Codec {
  return encoding === 'etf' ? ETF : JSON_TEXT
}
