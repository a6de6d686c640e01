/** The terms of json.ts that are not written in its loop: odd keys, atoms, floats, bigs, what has no counterpart in JSON. */
import { checkAtomUtf8 } from './atom-text.ts'
import { bigAt } from './big.ts'
import type { ByteBuffer } from './byte-buffer.ts'
import {
  putUint32,
  putUint64,
  writeEscapedLatin1,
  writeEscapedText,
  writeEscapedUtf8,
} from './json-text.ts'
import { keyText } from './key-text.ts'
import { isWholeBinary, rareTermText } from './rare-terms.ts'
import { textHeader } from './scalar.ts'

const BIT_BINARY_EXT = 77
const ATOM_EXT = 100
const BINARY_EXT = 109
const SMALL_ATOM_EXT = 115

const QUOTE = 0x22
const COMMA = 0x2c
const MINUS = 0x2d
/** Above this high half a 64-bit integer is beyond 2^53-1. */
const SAFE_HIGH_MAX = 0x1f_ffff

/** `id`, or a name that ends with `_id`. */
export function isIdName(bytes: Uint8Array, start: number, end: number): boolean {
  return (
    end - start >= 2 &&
    bytes[end - 1] === 0x64 &&
    bytes[end - 2] === 0x69 &&
    (end - start === 2 || bytes[end - 3] === 0x5f)
  )
}

/** `"key` of a key that is long, not plain ASCII, or no text at all. @returns whether it is an id's. */
export function writeOddKey(
  bytes: Uint8Array,
  start: number,
  end: number,
  out: ByteBuffer,
  isNulDropped: boolean,
): boolean {
  const tag = bytes[start]!
  const header = textHeader(tag)
  out.writeByte(QUOTE)
  if (header === 0) {
    writeEscapedText(out, keyText(bytes, start, end), isNulDropped)
    return false
  }
  if (tag === BINARY_EXT) writeEscapedUtf8(out, bytes, start + header, end, isNulDropped)
  else writeAtomName(bytes, start, end, out, isNulDropped)
  return isIdName(bytes, start + header, end)
}

export function writeAtom(
  bytes: Uint8Array,
  start: number,
  end: number,
  out: ByteBuffer,
  isNulDropped: boolean,
): void {
  out.writeByte(QUOTE)
  writeAtomName(bytes, start, end, out, isNulDropped)
  out.writeByte(QUOTE)
}

function writeAtomName(
  bytes: Uint8Array,
  start: number,
  end: number,
  out: ByteBuffer,
  isNulDropped: boolean,
): void {
  const tag = bytes[start]!
  const from = start + textHeader(tag)
  if (tag === ATOM_EXT || tag === SMALL_ATOM_EXT) {
    writeEscapedLatin1(out, bytes, from, end, isNulDropped)
  } else {
    checkAtomUtf8(bytes, start, from, end)
    writeEscapedUtf8(out, bytes, from, end, isNulDropped)
  }
}

export function writeRareTerm(
  bytes: Uint8Array,
  start: number,
  end: number,
  out: ByteBuffer,
  isNulDropped: boolean,
): void {
  out.writeByte(QUOTE)
  if (bytes[start] === BIT_BINARY_EXT && isWholeBinary(bytes, start)) {
    writeEscapedUtf8(out, bytes, start + 6, end, isNulDropped)
  } else {
    writeEscapedText(out, rareTermText(bytes, start, end), isNulDropped)
  }
  out.writeByte(QUOTE)
}

/** JavaScript's shortest form is JSON. An integer under an id key is an id that came as a float. */
export function floatText(value: number, isIdKey: boolean): string {
  const magnitude = Math.abs(value)
  const isId =
    isIdKey && Number.isInteger(value) && magnitude >= 0x1_0000_0000 && magnitude < 2 ** 64
  return isId ? `"${BigInt(value)}"` : String(value)
}

/** A SMALL_BIG_EXT of up to 8 digits. */
export function putBig(
  target: Uint8Array,
  start: number,
  bytes: Uint8Array,
  pos: number,
  isIdKey: boolean,
): number {
  const count = bytes[pos + 1]!
  const digits = pos + 3
  let low = 0
  let high = 0
  for (let i = Math.min(count, 4) - 1; i >= 0; i--) low = (low << 8) | bytes[digits + i]!
  for (let i = count - 1; i >= 4; i--) high = (high << 8) | bytes[digits + i]!
  low >>>= 0
  high >>>= 0
  let at = start
  const isString = high > SAFE_HIGH_MAX || (isIdKey && high > 0)
  if (isString) target[at++] = QUOTE
  if (bytes[pos + 2] !== 0 && (low !== 0 || high !== 0)) target[at++] = MINUS
  at = putUint64(target, at, high, low)
  if (isString) target[at++] = QUOTE
  return at
}

export function writeLargeBig(
  bytes: Uint8Array,
  start: number,
  end: number,
  out: ByteBuffer,
  isIdKey: boolean,
): void {
  const value = bigAt(bytes, start, end)
  const isNumber =
    value >= Number.MIN_SAFE_INTEGER &&
    value <= Number.MAX_SAFE_INTEGER &&
    !(isIdKey && (value >= 0x1_0000_0000n || value <= -0x1_0000_0000n))
  out.writeText(isNumber ? String(value) : `"${value}"`)
}

/** Bytes of a STRING_EXT as numbers between commas. */
export function writeByteElements(
  bytes: Uint8Array,
  start: number,
  end: number,
  out: ByteBuffer,
): void {
  out.reserve((end - start) * 4)
  const target = out.bytes
  let at = out.length
  for (let pos = start; pos < end; pos++) {
    if (pos > start) target[at++] = COMMA
    at = putUint32(target, at, bytes[pos]!)
  }
  out.length = at
}
