/**
 * Text into JSON: UTF-8 bytes to a JSON string's bytes, and decimal digits of integers.
 *
 *   < 0x20   \b \t \n \f \r, else \u00XX (NUL: dropped or \u0000)      "  \   with a backslash
 *   >= 0x80  checked; each maximal part that is not UTF-8 becomes EF BF BD, U+FFFD, as the WHATWG's decoder does
 */
import type { ByteBuffer } from './byte-buffer.ts'

/** Text is worked off in pieces, so that a long one does not reserve six times its length. */
const PIECE_BYTES = 4096
/** `\u00XX`: the most that one byte can become. */
const ESCAPE_BYTES_MAX = 6

const HEX = Buffer.from('0123456789abcdef')
/** Letter behind the backslash; 1: \u00XX; 0: the byte itself. 0x80 and above are not looked up. */
const escapes = new Uint8Array(128)
escapes.fill(1, 0, 0x20)
escapes[0x08] = 0x62
escapes[0x09] = 0x74
escapes[0x0a] = 0x6e
escapes[0x0c] = 0x66
escapes[0x0d] = 0x72
escapes[0x22] = 0x22
escapes[0x5c] = 0x5c

/** Appends UTF-8 bytes as the inside of a JSON string, without quotes. */
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
    out.reserve((pieceEnd - pos + 4) * ESCAPE_BYTES_MAX)
    const target = out.bytes
    let at = out.length
    // A sequence that begins in this piece is finished in it: at most three bytes beyond, which were reserved.
    while (pos < pieceEnd) {
      const byte = bytes[pos]!
      if (byte < 0x80) {
        pos++
        const escape = escapes[byte]!
        if (escape === 0) {
          target[at++] = byte
        } else if (escape !== 1) {
          target[at++] = 0x5c
          target[at++] = escape
        } else if (byte !== 0 || !isNulDropped) {
          target[at++] = 0x5c
          target[at++] = 0x75
          target[at++] = 0x30
          target[at++] = 0x30
          target[at++] = HEX[byte >> 4]!
          target[at++] = HEX[byte & 15]!
        }
        continue
      }
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

/** Appends Latin-1 bytes (atoms of tag 100 and 115) as the inside of a JSON string. At most 255 bytes. */
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

/** Appends ASCII that needs no escaping. */
export function writeAscii(out: ByteBuffer, text: string): void {
  out.reserve(text.length)
  const target = out.bytes
  let at = out.length
  for (let i = 0; i < text.length; i++) target[at++] = text.charCodeAt(i)
  out.length = at
}

const DIGITS_MAX = 20
const CHUNK = 10_000_000
const CHUNK_DIGITS = 7
const digits = new Uint8Array(DIGITS_MAX + CHUNK_DIGITS)

/**
 * Appends `high * 2^32 + low` in decimal. Divided by 10^7 in 16-bit steps, each of which stays below
 * 2^53 and so is exact in doubles; a bigint's toString costs five times as much.
 */
export function writeUint64(out: ByteBuffer, high: number, low: number): void {
  let at = digits.length
  let restHigh = high
  let restLow = low
  while (restHigh !== 0) {
    const quotientHigh = Math.floor(restHigh / CHUNK)
    const a = (restHigh - quotientHigh * CHUNK) * 65_536 + (restLow >>> 16)
    const quotientA = Math.floor(a / CHUNK)
    const b = (a - quotientA * CHUNK) * 65_536 + (restLow & 0xffff)
    const quotientB = Math.floor(b / CHUNK)
    let chunk = b - quotientB * CHUNK
    for (let i = 0; i < CHUNK_DIGITS; i++) {
      const next = Math.floor(chunk / 10)
      digits[--at] = 48 + chunk - next * 10
      chunk = next
    }
    const middle = quotientA * 65_536 + quotientB
    const carry = Math.floor(middle / 0x1_0000_0000)
    restHigh = quotientHigh + carry
    restLow = middle - carry * 0x1_0000_0000
  }
  do {
    const next = Math.floor(restLow / 10)
    digits[--at] = 48 + restLow - next * 10
    restLow = next
  } while (restLow !== 0)
  let from = at
  if (high !== 0) while (digits[from] === 48) from++
  out.reserve(DIGITS_MAX)
  const target = out.bytes
  let to = out.length
  while (from < digits.length) target[to++] = digits[from++]!
  out.length = to
}
