/**
 * Writes terms as Discord's Erlang does, and in the other shapes that are seen on the wire (sim/README.md):
 * atoms of three tags, binary keys, ids as strings, integers as floats. A writer of its own, not src/etf's: the simulator must not share the codec's mistakes, and the codec has no use for
 * these shapes.
 *
 *   MAP_EXT 116 | arity u32 | key₁ | value₁ | …      key = ATOM_EXT 100 | len u16 | bytes
 * @see https://www.erlang.org/doc/apps/erts/erl_ext_dist
 */
import type { WireMap, WireValue } from './value.ts'

/** Atom tags: ATOM_EXT 100, SMALL_ATOM_EXT 115, SMALL_ATOM_UTF8_EXT 119. */
export type AtomTag = 100 | 115 | 119

export interface EtfShape {
  readonly atomTag: AtomTag
  /** Map keys as atoms, or as binaries (nostrum#290: some payloads have them). */
  readonly keys: 'atom' | 'binary'
  /** Snowflakes as SMALL_BIG_EXT, or as decimal strings. */
  readonly snowflakes: 'big' | 'string'
  /** Integers of 2^31 and more as NEW_FLOAT_EXT. */
  readonly floatIntegers: boolean
  /** Lists of bytes as STRING_EXT, as term_to_binary does. */
  readonly stringExt: boolean
}

export const DISCORD_SHAPE: EtfShape = {
  atomTag: 100,
  keys: 'atom',
  snowflakes: 'big',
  floatIntegers: false,
  stringExt: true,
}

const KEYS_CACHED_MAX = 4096
const GROWTH_BYTES_MIN = 4096

export class EtfWriter {
  readonly shape: EtfShape
  bytes: Buffer = Buffer.allocUnsafe(64 * 1024)
  length = 0
  readonly #keys = new Map<string, Buffer>()
  readonly #nil: Buffer
  readonly #true: Buffer
  readonly #false: Buffer

  constructor(shape: EtfShape = DISCORD_SHAPE) {
    this.shape = shape
    this.#nil = this.#atom('nil')
    this.#true = this.#atom('true')
    this.#false = this.#atom('false')
  }

  /** One term without version byte, in bytes of its own. */
  term(value: WireValue): Buffer {
    this.length = 0
    this.value(value)
    return Buffer.from(this.bytes.subarray(0, this.length))
  }

  value(value: WireValue): void {
    switch (typeof value) {
      case 'string':
        this.binary(value)
        return
      case 'number':
        this.number(value)
        return
      case 'bigint':
        if (this.shape.snowflakes === 'string') this.binary(value.toString())
        else this.#integer(value)
        return
      case 'boolean':
        this.raw(value ? this.#true : this.#false)
        return
      default:
        if (value === null) this.raw(this.#nil)
        else if (Array.isArray(value)) this.#list(value as readonly WireValue[])
        else this.#map(value as WireMap)
    }
  }

  /** A map's key. Keys of digits are snowflakes (`resolved.users`): binaries even among atoms. */
  key(name: string): void {
    let bytes = this.#keys.get(name)
    if (bytes === undefined) {
      const asAtom = this.shape.keys === 'atom' && !/^\d+$/.test(name) && name.length < 256
      bytes = asAtom ? this.#atom(name) : binaryTerm(name)
      if (this.#keys.size < KEYS_CACHED_MAX) this.#keys.set(name, bytes)
    }
    this.raw(bytes)
  }

  /** The event's name: an atom among atom keys, a binary among binary ones. */
  eventName(name: string): void {
    this.key(name)
  }

  binary(text: string): void {
    this.reserve(5 + text.length * 3)
    const written = this.bytes.write(text, this.length + 5, 'utf8')
    this.bytes[this.length] = 109
    this.bytes.writeUInt32BE(written, this.length + 1)
    this.length += 5 + written
  }

  number(value: number): void {
    if (!Number.isInteger(value) || Object.is(value, -0)) {
      this.#float(value)
    } else if (value >= 0 && value <= 255) {
      this.reserve(2)
      this.bytes[this.length++] = 97
      this.bytes[this.length++] = value
    } else if (value >= -0x8000_0000 && value <= 0x7fff_ffff) {
      this.reserve(5)
      this.bytes[this.length] = 98
      this.bytes.writeInt32BE(value, this.length + 1)
      this.length += 5
    } else if (this.shape.floatIntegers) {
      this.#float(value)
    } else {
      this.#big(BigInt(value))
    }
  }

  raw(bytes: Uint8Array): void {
    this.reserve(bytes.length)
    this.bytes.set(bytes, this.length)
    this.length += bytes.length
  }

  byte(value: number): void {
    this.reserve(1)
    this.bytes[this.length++] = value
  }

  mapHead(arity: number): void {
    this.reserve(5)
    this.bytes[this.length] = 116
    this.bytes.writeUInt32BE(arity, this.length + 1)
    this.length += 5
  }

  nil(): void {
    this.raw(this.#nil)
  }

  reserve(count: number): void {
    if (this.length + count <= this.bytes.length) return
    const grown = Buffer.allocUnsafe(
      Math.max(this.bytes.length * 2, this.length + count + GROWTH_BYTES_MIN),
    )
    this.bytes.copy(grown, 0, 0, this.length)
    this.bytes = grown
  }

  #map(map: WireMap): void {
    const at = this.length
    this.mapHead(0)
    let arity = 0
    for (const name in map) {
      const entry = map[name]
      if (entry === undefined) continue
      this.key(name)
      this.value(entry)
      arity++
    }
    this.bytes.writeUInt32BE(arity, at + 1)
  }

  #list(list: readonly WireValue[]): void {
    if (list.length === 0) {
      this.byte(106)
      return
    }
    if (this.shape.stringExt && list.length <= 0xffff && list.every(isByte)) {
      this.reserve(3 + list.length)
      this.bytes[this.length] = 107
      this.bytes.writeUInt16BE(list.length, this.length + 1)
      this.length += 3
      for (const entry of list) this.bytes[this.length++] = entry as number
      return
    }
    this.reserve(5)
    this.bytes[this.length] = 108
    this.bytes.writeUInt32BE(list.length, this.length + 1)
    this.length += 5
    for (const entry of list) this.value(entry)
    this.byte(106)
  }

  #integer(value: bigint): void {
    if (value >= -0x8000_0000n && value <= 0x7fff_ffffn) this.number(Number(value))
    else this.#big(value)
  }

  /** SMALL_BIG_EXT 110 | n | sign | n bytes, least significant first, no leading zeros. */
  #big(value: bigint): void {
    this.reserve(3 + 255)
    const at = this.length
    let rest = value < 0n ? -value : value
    let count = 0
    while (rest > 0n && count < 255) {
      if (rest < 0x1_0000_0000n) {
        for (let low = Number(rest); low > 0; low = Math.floor(low / 256)) {
          this.bytes[at + 3 + count++] = low & 0xff
        }
        break
      }
      this.bytes.writeUInt32LE(Number(rest & 0xffff_ffffn), at + 3 + count)
      count += 4
      rest >>= 32n
    }
    this.bytes[at] = 110
    this.bytes[at + 1] = count
    this.bytes[at + 2] = value < 0n ? 1 : 0
    this.length = at + 3 + count
  }

  #float(value: number): void {
    this.reserve(9)
    this.bytes[this.length] = 70
    this.bytes.writeDoubleBE(value, this.length + 1)
    this.length += 9
  }

  #atom(name: string): Buffer {
    const text = Buffer.from(name, 'utf8')
    const head =
      this.shape.atomTag === 100
        ? [100, text.length >> 8, text.length & 255]
        : [this.shape.atomTag, text.length]
    return Buffer.concat([Buffer.from(head), text])
  }
}

function isByte(value: WireValue): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 255
}

function binaryTerm(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8')
  const head = Buffer.alloc(5)
  head[0] = 109
  head.writeUInt32BE(bytes.length, 1)
  return Buffer.concat([head, bytes])
}
