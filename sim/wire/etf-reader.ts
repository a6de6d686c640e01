/**
 * Reads what a client sends, as strictly as Discord: binary keys only, no compressed terms, atoms nothing but
 * nil, null, true and false, one whole term. Everything else is close code 4002.
 * See [Discord Docs/Gateway#etf].
 */
import { SimError } from '../errors.ts'
import type { WireValue } from './value.ts'

const DEPTH_MAX = 32

export function readEtf(bytes: Buffer): WireValue {
  if (bytes[0] !== 131) throw refused('the version byte is not 131')
  const reader = new Reader(bytes)
  const value = reader.term(0)
  if (reader.pos !== bytes.length) throw refused('bytes follow the term')
  return value
}

class Reader {
  readonly #bytes: Buffer
  pos = 1

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  /** Recursion is bounded by DEPTH_MAX, and the input by 4,096 bytes. */
  term(depth: number): WireValue {
    if (depth > DEPTH_MAX) throw refused('the term is nested too deep')
    const tag = this.#u8()
    switch (tag) {
      case 97:
        return this.#u8()
      case 98:
        return this.#take(4).readInt32BE(0)
      case 70:
        return this.#take(8).readDoubleBE(0)
      case 110:
        return this.#big(this.#u8())
      case 100:
        return this.#atom(this.#take(2).readUInt16BE(0))
      case 115:
        return this.#atom(this.#u8())
      case 109:
        return this.#take(this.#take(4).readUInt32BE(0)).toString('utf8')
      case 106:
        return []
      case 107:
        return [...this.#take(this.#take(2).readUInt16BE(0))]
      case 108: {
        const list: WireValue[] = []
        for (let left = this.#take(4).readUInt32BE(0); left > 0; left--)
          list.push(this.term(depth + 1))
        if (this.#u8() !== 106) throw refused('a list does not end with NIL')
        return list
      }
      case 116: {
        const map: Record<string, WireValue> = Object.create(null) as Record<string, WireValue>
        for (let left = this.#take(4).readUInt32BE(0); left > 0; left--) {
          if (this.#bytes[this.pos] !== 109) throw refused('a key is not a binary')
          const key = this.term(depth + 1) as string
          map[key] = this.term(depth + 1)
        }
        return map
      }
      default:
        throw refused(`tag ${tag} is not accepted`)
    }
  }

  #u8(): number {
    return this.#take(1)[0]!
  }

  #take(count: number): Buffer {
    if (this.pos + count > this.#bytes.length) throw refused('the term is truncated')
    const part = this.#bytes.subarray(this.pos, this.pos + count)
    this.pos += count
    return part
  }

  #atom(length: number): WireValue {
    const name = this.#take(length).toString('latin1')
    if (name === 'nil' || name === 'null') return null
    if (name === 'true') return true
    if (name === 'false') return false
    throw refused(`the atom ${name} is not accepted`)
  }

  /** A number where it is safe, else a bigint: heartbeats may carry the sequence as SMALL_BIG_EXT. */
  #big(count: number): WireValue {
    const sign = this.#u8()
    const digits = this.#take(count)
    let value = 0n
    for (let index = count - 1; index >= 0; index--) value = (value << 8n) | BigInt(digits[index]!)
    if (sign === 1) value = -value
    return value <= BigInt(Number.MAX_SAFE_INTEGER) && value >= BigInt(Number.MIN_SAFE_INTEGER)
      ? Number(value)
      : value
  }
}

function refused(why: string): SimError {
  return new SimError('SIM_BAD_PAYLOAD', `The client's payload is not accepted: ${why}.`)
}
