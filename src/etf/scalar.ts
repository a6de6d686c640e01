/**
 * One scalar term, given as a range: ids, numbers, text, nil and booleans. Ranges come from FieldReader,
 * MapReader, ListReader or skipTerm and hold one whole term. A range of -1 (absent) answers null or false.
 */
import { putUint64 } from './json-text.ts'
import { latin1Text, utf8Text } from './text.ts'
import { uint32At } from './uint32.ts'

const NEW_FLOAT_EXT = 70
const SMALL_INTEGER_EXT = 97
const INTEGER_EXT = 98
const ATOM_EXT = 100
const BINARY_EXT = 109
const SMALL_BIG_EXT = 110
const SMALL_ATOM_EXT = 115
const ATOM_UTF8_EXT = 118
const SMALL_ATOM_UTF8_EXT = 119

const SNOWFLAKE_DIGITS_MAX = 20
const DIGIT_ZERO = 48
const TWO_POW_32 = 0x1_0000_0000

/**
 * The 64-bit value that readId or joinHalves made last, and the same memory as two halves, low first: a
 * bigint costs an allocation that most callers do not need, and so would a variable of more than 31 bits.
 */
const halves = new Uint32Array(2)
const whole = new BigUint64Array(halves.buffer)

const decimals = Buffer.alloc(SNOWFLAKE_DIGITS_MAX)

/** A snowflake as bigint. @returns null for nil, absent, negative, above 2^64-1, or anything but an integer or decimal string. */
export function snowflakeAt(bytes: Uint8Array, start: number, end: number): bigint | null {
  return readId(bytes, start, end) ? whole[0]! : null
}

/**
 * A snowflake as decimal text without zeros in front. @returns null where snowflakeAt does.
 * Cost: the string; a text of digits is taken as it is, and no bigint is made.
 */
export function snowflakeTextAt(bytes: Uint8Array, start: number, end: number): string | null {
  if (!readId(bytes, start, end)) return null
  if (bytes[start] === BINARY_EXT && bytes[start + 5] !== DIGIT_ZERO) {
    return latin1Text(bytes, start + 5, end)
  }
  return latin1Text(decimals, 0, putUint64(decimals, 0, halves[1]!, halves[0]!))
}

/**
 * A snowflake as 8 bytes big-endian at `out[outPos]`, which is Postgres' binary int8.
 *
 * @returns false, with nothing written, where snowflakeAt gives null, above 2^63-1, or without room in `out`.
 */
export function writeSnowflake(
  bytes: Uint8Array,
  start: number,
  end: number,
  out: Uint8Array,
  outPos: number,
): boolean {
  if (!readId(bytes, start, end) || outPos + 8 > out.length) return false
  const low = halves[0]!
  const high = halves[1]!
  if (high > 0x7fff_ffff) return false
  out[outPos] = high >>> 24
  out[outPos + 1] = high >>> 16
  out[outPos + 2] = high >>> 8
  out[outPos + 3] = high
  out[outPos + 4] = low >>> 24
  out[outPos + 5] = low >>> 16
  out[outPos + 6] = low >>> 8
  out[outPos + 7] = low
  return true
}

/** An integer that a double holds exactly, also from a float or big that is one; else null. */
export function integerAt(bytes: Uint8Array, start: number, end: number): number | null {
  if (start < 0 || end - start < 2) return null
  switch (bytes[start]) {
    case SMALL_INTEGER_EXT:
      return bytes[start + 1]!
    case INTEGER_EXT:
      if (end - start < 5) return null
      return (
        (bytes[start + 1]! << 24) |
        (bytes[start + 2]! << 16) |
        (bytes[start + 3]! << 8) |
        bytes[start + 4]!
      )
    case SMALL_BIG_EXT: {
      const count = bytes[start + 1]!
      if (end - start < 3 + count) return null
      let value = 0
      for (let i = count - 1; i >= 0; i--) value = value * 256 + bytes[start + 3 + i]!
      if (value > Number.MAX_SAFE_INTEGER) return null
      return bytes[start + 2] === 0 || value === 0 ? value : -value
    }
    case NEW_FLOAT_EXT: {
      if (end - start < 9) return null
      const value = float64(bytes, start + 1)
      return Number.isSafeInteger(value) ? value + 0 : null
    }
    default:
      return null
  }
}

/** Text of a binary, or of an atom other than nil, null, true and false; else null. */
export function textAt(bytes: Uint8Array, start: number, end: number): string | null {
  if (start < 0 || start >= end) return null
  const tag = bytes[start]!
  if (tag === BINARY_EXT) {
    return end - start < 5 ? null : utf8Text(bytes, start + 5, end)
  }
  const header = atomHeader(tag)
  if (header === 0 || end - start < header) return null
  const text =
    tag === ATOM_EXT || tag === SMALL_ATOM_EXT
      ? latin1Text(bytes, start + header, end)
      : utf8Text(bytes, start + header, end)
  return text === 'nil' || text === 'null' || text === 'true' || text === 'false' ? null : text
}

/** The atoms nil and null. */
export function isNil(bytes: Uint8Array, start: number, end: number): boolean {
  return isAtom(bytes, start, end, 0x6e696c) || isAtom(bytes, start, end, 0x6e756c6c)
}

export function isTrue(bytes: Uint8Array, start: number, end: number): boolean {
  return isAtom(bytes, start, end, 0x74727565)
}

export function isFalse(bytes: Uint8Array, start: number, end: number): boolean {
  // Five letters do not fit 32 bits: the `f` stands before the four that isAtom compares.
  if (start < 0 || start >= end) return false
  const text = start + atomHeader(bytes[start]!)
  return (
    text > start &&
    end - text === 5 &&
    bytes[text] === 0x66 &&
    bytes[text + 1] === 0x61 &&
    bytes[text + 2] === 0x6c &&
    bytes[text + 3] === 0x73 &&
    bytes[text + 4] === 0x65
  )
}

/** The double at `pos`. */
export function float64(bytes: Uint8Array, pos: number): number {
  floatBytes[0] = bytes[pos + 7]!
  floatBytes[1] = bytes[pos + 6]!
  floatBytes[2] = bytes[pos + 5]!
  floatBytes[3] = bytes[pos + 4]!
  floatBytes[4] = bytes[pos + 3]!
  floatBytes[5] = bytes[pos + 2]!
  floatBytes[6] = bytes[pos + 1]!
  floatBytes[7] = bytes[pos]!
  return floatValue[0]!
}

/** `high * 2^32 + low` as bigint, through shared memory: a third of the cost of shifting bigints. */
export function joinHalves(high: number, low: number): bigint {
  halves[0] = low
  halves[1] = high
  return whole[0]!
}

/** Bytes of tag and length in front of an atom's text; 0 when the tag is not an atom's. */
export function atomHeader(tag: number): number {
  switch (tag) {
    case ATOM_EXT:
    case ATOM_UTF8_EXT:
      return 3
    case SMALL_ATOM_EXT:
    case SMALL_ATOM_UTF8_EXT:
      return 2
    default:
      return 0
  }
}

/** As atomHeader, and for binaries. */
export function textHeader(tag: number): number {
  return tag === BINARY_EXT ? 5 : atomHeader(tag)
}

/** Length of a binary's or atom's text, whose header of `header` bytes is there. */
export function textBytes(bytes: Uint8Array, pos: number, header: number): number {
  if (header === 5) return uint32At(bytes, pos + 1)
  return header === 3 ? (bytes[pos + 1]! << 8) | bytes[pos + 2]! : bytes[pos + 1]!
}

const floatBytes = new Uint8Array(8)
const floatValue = new Float64Array(floatBytes.buffer)

/** Whether the term is the atom whose letters are the bytes of `letters`, three or four of them. */
function isAtom(bytes: Uint8Array, start: number, end: number, letters: number): boolean {
  if (start < 0 || start >= end) return false
  const text = start + atomHeader(bytes[start]!)
  const length = letters > 0xff_ffff ? 4 : 3
  if (text === start || end - text !== length) return false
  let value = 0
  for (let pos = text; pos < end; pos++) value = (value << 8) | bytes[pos]!
  return value === letters
}

/** Reads an id into `halves`. False for whatever is none. */
function readId(bytes: Uint8Array, start: number, end: number): boolean {
  if (start < 0 || end - start < 2) return false
  const tag = bytes[start]!
  if (tag === SMALL_BIG_EXT) {
    let count = bytes[start + 1]!
    if (end - start < 3 + count) return false
    const digits = start + 3
    while (count > 8) {
      if (bytes[digits + --count] !== 0) return false
    }
    let low = 0
    let high = 0
    for (let i = Math.min(count, 4) - 1; i >= 0; i--) low = (low << 8) | bytes[digits + i]!
    for (let i = count - 1; i >= 4; i--) high = (high << 8) | bytes[digits + i]!
    halves[0] = low
    halves[1] = high
    return bytes[start + 2] === 0 || (low === 0 && high === 0)
  }
  if (tag === BINARY_EXT) {
    const first = start + 5
    const count = end - first
    if (count < 1 || count > SNOWFLAKE_DIGITS_MAX) return false
    let low = 0
    let high = 0
    for (let pos = first; pos < end; pos++) {
      const digit = bytes[pos]! - DIGIT_ZERO
      if (digit < 0 || digit > 9) return false
      low = low * 10 + digit
      const carry = Math.floor(low / TWO_POW_32)
      low -= carry * TWO_POW_32
      high = high * 10 + carry
    }
    if (high >= TWO_POW_32) return false
    halves[0] = low
    halves[1] = high
    return true
  }
  const value = integerAt(bytes, start, end)
  if (value === null || value < 0) return false
  const high = Math.floor(value / TWO_POW_32)
  halves[0] = value - high * TWO_POW_32
  halves[1] = high
  return true
}
