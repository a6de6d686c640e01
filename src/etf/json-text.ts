/**
 * The pieces of JSON text: UTF-8 bytes to the inside of a string, integers to decimal digits. The functions that
 * take `target` and `at` rely on the caller for room there and return where they stopped.
 *
 *   < 0x20   \b \t \n \f \r, else \u00XX (NUL: dropped or \u0000)      "  \   with a backslash
 *   >= 0x80  checked; each maximal part that is not UTF-8 becomes EF BF BD, U+FFFD, as the WHATWG's decoder does
 */
import type { ByteBuffer } from './byte-buffer.ts'

/** Text is worked off in pieces, so that a long one does not reserve six times its length. */
export const PIECE_BYTES = 4096
/** `\u00XX`: the most that one byte can become. */
const ESCAPE_BYTES_MAX = 6

const HEX = Buffer.from('0123456789abcdef')
/** Letter behind the backslash; 1: \u00XX; 0: the byte itself; 2: not ASCII. */
const escapes = new Uint8Array(256)
escapes.fill(1, 0, 0x20)
escapes.fill(2, 0x80)
escapes[0x08] = 0x62
escapes[0x09] = 0x74
escapes[0x0a] = 0x6e
escapes[0x0c] = 0x66
escapes[0x0d] = 0x72
escapes[0x22] = 0x22
escapes[0x5c] = 0x5c

/**
 * Copies ASCII that needs no escaping.
 *
 * @returns the offset behind it in `target`, or -1 at the first byte that is another: then nothing counts as written.
 */
export function copyPlain(
  target: Uint8Array,
  at: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): number {
  let to = at
  for (let pos = start; pos < end; pos++) {
    const byte = bytes[pos]!
    if (escapes[byte] !== 0) return -1
    target[to++] = byte
  }
  return to
}

/** Appends UTF-8 bytes as the inside of a JSON string, without quotes. Reserves its room. */
export function writeEscapedUtf8(
  out: ByteBuffer,
  bytes: Uint8Array,
  start: number,
  end: number,
  isNulDropped: boolean,
): void {
  let pos = start
  while (pos < end) {
    const pieceEnd = Math.min(end, pos + PIECE_BYTES)
    // A sequence that begins in this piece is finished in it: at most three bytes beyond.
    out.reserve((pieceEnd - pos + 3) * ESCAPE_BYTES_MAX)
    const target = out.bytes
    let at = out.length
    while (pos < pieceEnd) {
      const byte = bytes[pos]!
      const escape = escapes[byte]!
      if (escape === 0) {
        target[at++] = byte
        pos++
      } else if (escape > 2) {
        target[at++] = 0x5c
        target[at++] = escape
        pos++
      } else if (escape === 1) {
        if (byte !== 0 || !isNulDropped) {
          target[at++] = 0x5c
          target[at++] = 0x75
          target[at++] = 0x30
          target[at++] = 0x30
          target[at++] = HEX[byte >> 4]!
          target[at++] = HEX[byte & 15]!
        }
        pos++
      } else {
        const length = sequenceLength(bytes, pos, end)
        if (length > 0) {
          for (let i = 0; i < length; i++) target[at++] = bytes[pos++]!
        } else {
          target[at++] = 0xef
          target[at++] = 0xbf
          target[at++] = 0xbd
          pos -= length
        }
      }
    }
    out.length = at
  }
}

/**
 * Length of the UTF-8 sequence at `pos`, or minus the length of the maximal part of one that is broken.
 *
 *   C2..DF 80..BF · E0 A0..BF 80..BF · E1..EC,EE,EF 80..BF ×2 · ED 80..9F 80..BF (no surrogates)
 *   F0 90..BF 80..BF ×2 · F1..F3 80..BF ×3 · F4 80..8F 80..BF ×2
 * @see Unicode 15, table 3-7
 */
function sequenceLength(bytes: Uint8Array, pos: number, end: number): number {
  const lead = bytes[pos]!
  if (lead < 0xc2 || lead > 0xf4) return -1
  const need = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3
  let low = 0x80
  let high = 0xbf
  if (lead === 0xe0) low = 0xa0
  else if (lead === 0xed) high = 0x9f
  else if (lead === 0xf0) low = 0x90
  else if (lead === 0xf4) high = 0x8f
  for (let i = 1; i <= need; i++) {
    const at = pos + i
    if (at >= end) return -i
    const byte = bytes[at]!
    if (byte < low || byte > high) return -i
    low = 0x80
    high = 0xbf
  }
  return need + 1
}

/** Appends Latin-1 bytes (atoms of tag 100 and 115) as the inside of a JSON string. */
export function writeEscapedLatin1(
  out: ByteBuffer,
  bytes: Uint8Array,
  start: number,
  end: number,
  isNulDropped: boolean,
): void {
  let pos = start
  while (pos < end) {
    let asciiEnd = pos
    while (asciiEnd < end && bytes[asciiEnd]! < 0x80) asciiEnd++
    writeEscapedUtf8(out, bytes, pos, asciiEnd, isNulDropped)
    pos = asciiEnd
    while (pos < end && bytes[pos]! >= 0x80) {
      const byte = bytes[pos++]!
      out.writeByte(0xc0 | (byte >> 6))
      out.writeByte(0x80 | (byte & 0x3f))
    }
  }
}

/** Appends a string that needs escaping like any text: names of odd keys. */
export function writeEscapedText(out: ByteBuffer, text: string, isNulDropped: boolean): void {
  const bytes = Buffer.from(text, 'utf8')
  writeEscapedUtf8(out, bytes, 0, bytes.length, isNulDropped)
}

/** ASCII that needs no escaping. */
export function putAscii(target: Uint8Array, at: number, text: string): number {
  let to = at
  for (let i = 0; i < text.length; i++) target[to++] = text.charCodeAt(i)
  return to
}

/** A number below 2^32 in decimal. */
export function putUint32(target: Uint8Array, at: number, value: number): number {
  if (value < 10) {
    target[at] = 48 + value
    return at + 1
  }
  let count = 2
  for (let power = 100; value >= power; power *= 10) count++
  const end = at + count
  let rest = value
  let to = end
  if (rest > 0x7fff_ffff) {
    const next = Math.floor(rest / 10)
    target[--to] = 48 + (rest - next * 10)
    rest = next
  }
  // From here on the number is a small integer to the engine, which then divides by multiplying.
  let small = rest | 0
  while (to > at) {
    const next = (small / 10) | 0
    target[--to] = 48 + (small - next * 10)
    small = next
  }
  return end
}

const CHUNK = 10_000_000
const CHUNK_DIGITS = 7

/**
 * `high * 2^32 + low` in decimal: divided by 10^7 in 16-bit steps, each of which stays below 2^53 and so
 * is exact in doubles; the three remainders are the digits. A bigint's toString costs several times as much.
 */
export function putUint64(target: Uint8Array, at: number, high: number, low: number): number {
  if (high === 0) return putUint32(target, at, low)
  const q1High = Math.floor(high / CHUNK)
  const a1 = (high - q1High * CHUNK) * 65_536 + (low >>> 16)
  const q1a = Math.floor(a1 / CHUNK)
  const b1 = (a1 - q1a * CHUNK) * 65_536 + (low & 0xffff)
  const q1b = Math.floor(b1 / CHUNK)
  const last = b1 - q1b * CHUNK
  // 2^64 / 10^7 is below 2^41: from here on one double holds it.
  const rest = q1High * 0x1_0000_0000 + q1a * 65_536 + q1b
  const first = Math.floor(rest / CHUNK)
  const middle = rest - first * CHUNK
  let to = at
  if (first > 0) {
    to = putUint32(target, to, first)
    to = putChunk(target, to, middle)
  } else {
    to = putUint32(target, to, middle)
  }
  return putChunk(target, to, last)
}

/** Seven digits, with zeros in front. */
function putChunk(target: Uint8Array, at: number, chunk: number): number {
  let small = chunk | 0
  for (let to = at + CHUNK_DIGITS - 1; to >= at; to--) {
    const next = (small / 10) | 0
    target[to] = 48 + (small - next * 10)
    small = next
  }
  return at + CHUNK_DIGITS
}
