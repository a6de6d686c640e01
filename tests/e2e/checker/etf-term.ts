/**
 * A small reader of External Term Format, written for the checker alone: what the program under test reads by
 * its own codec is read here by another. See Erlang ext_dist.
 */
export type Value = null | boolean | number | string | bigint | readonly Value[] | ValueMap

export interface ValueMap {
  readonly [key: string]: Value
}

/** Where the value of a top-level key lies in the bytes. */
export interface TermRange {
  readonly start: number
  readonly end: number
}

const text = new TextDecoder()

class TermReader {
  readonly bytes: Uint8Array
  readonly view: DataView
  pos: number

  constructor(bytes: Uint8Array, pos: number) {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.pos = pos
  }

  value(): Value {
    const tag = this.view.getUint8(this.pos++)
    switch (tag) {
      case 97: // SMALL_INTEGER_EXT
        return this.view.getUint8(this.#skip(1))
      case 98: // INTEGER_EXT
        return this.view.getInt32(this.#skip(4))
      case 70: // NEW_FLOAT_EXT
        return this.view.getFloat64(this.#skip(8))
      case 110: // SMALL_BIG_EXT
        return this.#big(this.view.getUint8(this.#skip(1)))
      case 109: // BINARY_EXT
        return this.#text(this.view.getUint32(this.#skip(4)))
      case 107: // STRING_EXT: a list of bytes
        return this.#byteList(this.view.getUint16(this.#skip(2)))
      case 106: // NIL_EXT
        return []
      case 108: // LIST_EXT, with its tail
        return this.#list(this.view.getUint32(this.#skip(4)))
      case 116: // MAP_EXT
        return this.#map(this.view.getUint32(this.#skip(4)))
      case 100: // ATOM_EXT
      case 118: // ATOM_UTF8_EXT
        return atom(this.#text(this.view.getUint16(this.#skip(2))))
      case 115: // SMALL_ATOM_EXT
      case 119: // SMALL_ATOM_UTF8_EXT
        return atom(this.#text(this.view.getUint8(this.#skip(1))))
      default:
        throw new RangeError(`The checker knows no tag ${tag} at ${this.pos - 1}`)
    }
  }

  #skip(length: number): number {
    const at = this.pos
    this.pos += length
    return at
  }

  #text(length: number): string {
    const at = this.#skip(length)
    return text.decode(this.bytes.subarray(at, at + length))
  }

  #byteList(length: number): number[] {
    const at = this.#skip(length)
    return [...this.bytes.subarray(at, at + length)]
  }

  #big(length: number): number | bigint {
    const isNegative = this.view.getUint8(this.#skip(1)) !== 0
    const at = this.#skip(length)
    let value = 0n
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.bytes[at + i]!)
    if (isNegative) value = -value
    const number = Number(value)
    return Number.isSafeInteger(number) ? number : value
  }

  #list(length: number): Value[] {
    const list: Value[] = []
    for (let i = 0; i < length; i++) list.push(this.value())
    this.value()
    return list
  }

  #map(arity: number): ValueMap {
    const entries: [string, Value][] = []
    for (let i = 0; i < arity; i++) {
      entries.push([keyText(this.value()), this.value()])
    }
    return Object.fromEntries(entries)
  }
}

function atom(name: string): null | boolean | string {
  if (name === 'nil' || name === 'null') return null
  if (name === 'true' || name === 'false') return name === 'true'
  return name
}

/** Keys are atoms, binaries or integers. */
function keyText(key: Value): string {
  if (typeof key !== 'string' && typeof key !== 'number') throw new RangeError('A key is no text')
  return key.toString()
}

/** One term without version byte. Integers beyond 2^53 - 1 are bigint, those within it numbers. */
export function readTerm(bytes: Uint8Array, start = 0): Value {
  return new TermReader(bytes, start).value()
}

/** An external term, version byte 131 first, whose term is a map: its values and where they lie. */
export function readTopMap(bytes: Uint8Array): Map<string, { value: Value; range: TermRange }> {
  const reader = new TermReader(bytes, 0)
  if (bytes[0] !== 131 || bytes[1] !== 116) throw new RangeError('Not an external map term')
  const arity = reader.view.getUint32(2)
  reader.pos = 6
  const found = new Map<string, { value: Value; range: TermRange }>()
  for (let i = 0; i < arity; i++) {
    const key = keyText(reader.value())
    const start = reader.pos
    const value = reader.value()
    found.set(key, { value, range: { start, end: reader.pos } })
  }
  return found
}
