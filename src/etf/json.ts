/**
 * External terms to JSON text, bytes to bytes. The loop is that of decode.ts, but that a container leaves its
 * brackets instead of an object.
 *
 * Numbers follow Discord's JSON: an integer beyond ±(2^53-1) is a string, and so is one of 2^32 and more
 * directly under a key `id` or `*_id`; every other is a number.
 */
import { checkAtomUtf8 } from './atom-text.ts'
import { bigAt } from './big.ts'
import type { ByteBuffer } from './byte-buffer.ts'
import { tooDeep, trailing, truncated, unknownTag } from './errors.ts'
import { oldFloatAt } from './float-text.ts'
import { inflateTerm } from './inflate.ts'
import {
  writeAscii,
  writeEscapedLatin1,
  writeEscapedText,
  writeEscapedUtf8,
  writeUint64,
} from './json-text.ts'
import { finite, keyText } from './key-text.ts'
import { DEPTH_MAX, NEED_MORE } from './limits.ts'
import { isWholeBinary, rareTermText } from './rare-terms.ts'
import { atomHeader, float64, textHeader, isFalse, isNil, isTrue } from './scalar.ts'
import { skipNested, skipTerm } from './skip.ts'
import { uint32At } from './uint32.ts'

const NEW_FLOAT_EXT = 70
const BIT_BINARY_EXT = 77
const COMPRESSED = 80
const SMALL_INTEGER_EXT = 97
const INTEGER_EXT = 98
const FLOAT_EXT = 99
const ATOM_EXT = 100
const SMALL_TUPLE_EXT = 104
const LARGE_TUPLE_EXT = 105
const NIL_EXT = 106
const STRING_EXT = 107
const LIST_EXT = 108
const BINARY_EXT = 109
const SMALL_BIG_EXT = 110
const LARGE_BIG_EXT = 111
const SMALL_ATOM_EXT = 115
const MAP_EXT = 116
const ATOM_UTF8_EXT = 118
const SMALL_ATOM_UTF8_EXT = 119

const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const SAFE_HIGH_MAX = 0x1f_ffff

/** A container's kind, on a stack; PLAIN is a tuple, or a list at its improper tail. */
const MAP = 0
const LIST = 1
const PLAIN = 2

export interface JsonOptions {
  /** NUL in text: `\u0000` (default), or dropped, because Postgres' jsonb has no NUL. */
  readonly nul?: 'escape' | 'drop'
}

// Open containers. The transcoder never calls back, so that one set of stacks serves all calls.
const kinds = new Uint8Array(DEPTH_MAX)
const lefts = new Int32Array(DEPTH_MAX)
const tails = new Int32Array(DEPTH_MAX)

/**
 * Appends the term in `bytes[start, end)` (no version byte) to `out` as strict JSON.
 *
 * Tuples and lists → arrays, the tail of an improper list last · atoms nil, null, true, false → literals, others → strings ·
 * keys that are no text → keyText's strings · text that is not UTF-8 → U+FFFD.
 * @throws EtfError as decodeTermAt; what was appended is then taken back.
 * Cost: one pass, nothing allocated but by odd keys, floats and integers beyond 64 bits.
 */
export function termToJson(
  bytes: Uint8Array,
  start: number,
  end: number,
  out: ByteBuffer,
  options: JsonOptions = {},
): void {
  const length = out.length
  try {
    transcode(bytes, start, end, out, options.nul === 'drop')
  } catch (error) {
    out.length = length
    throw error
  }
}

function transcode(
  bytes: Uint8Array,
  start: number,
  end: number,
  out: ByteBuffer,
  isNulDropped: boolean,
): void {
  if (start < end && bytes[start] === COMPRESSED) {
    const inflated = inflateTerm(bytes, start, end)
    if (inflated === null) throw truncated(end)
    if (inflated.end !== end) throw trailing(inflated.end, end)
    if (inflated.term[0] === COMPRESSED) throw unknownTag(COMPRESSED, start)
    transcode(inflated.term, 0, inflated.term.length, out, isNulDropped)
    return
  }
  let pos = start
  // `level`: open containers; `depth`: the same and the lists that continued one as its tail.
  let level = 0
  let depth = 0
  let kind = PLAIN
  let left = 0
  let isIdKey = false
  let isKeyRead = true
  for (;;) {
    if (!isKeyRead) {
      const behind = skipNested(bytes, pos, end, depth)
      if (behind === NEED_MORE) throw truncated(end)
      isIdKey = writeKey(bytes, pos, behind, out, isNulDropped)
      pos = behind
      isKeyRead = true
    }
    if (pos >= end) throw truncated(end)
    const tag = bytes[pos]!
    switch (tag) {
      case SMALL_INTEGER_EXT:
        if (end - pos < 2) throw truncated(end)
        writeUint64(out, 0, bytes[pos + 1]!)
        pos += 2
        break
      case INTEGER_EXT: {
        if (end - pos < 5) throw truncated(end)
        const value = uint32At(bytes, pos + 1) | 0
        if (value < 0) out.writeByte(0x2d)
        writeUint64(out, 0, Math.abs(value))
        pos += 5
        break
      }
      case NEW_FLOAT_EXT:
        if (end - pos < 9) throw truncated(end)
        writeFloat(out, finite(float64(bytes, pos + 1), pos), isIdKey)
        pos += 9
        break
      case FLOAT_EXT:
        if (end - pos < 32) throw truncated(end)
        writeFloat(out, oldFloatAt(bytes, pos), isIdKey)
        pos += 32
        break
      case SMALL_BIG_EXT:
      case LARGE_BIG_EXT: {
        const behind = skipTerm(bytes, pos, end)
        if (behind === NEED_MORE) throw truncated(end)
        writeBig(bytes, pos, behind, out, isIdKey)
        pos = behind
        break
      }
      case BINARY_EXT: {
        if (end - pos < 5) throw truncated(end)
        const from = pos + 5
        const size = uint32At(bytes, pos + 1)
        if (size > end - from) throw truncated(end)
        pos = from + size
        out.writeByte(QUOTE)
        writeEscapedUtf8(out, bytes, from, pos, isNulDropped)
        out.writeByte(QUOTE)
        break
      }
      case ATOM_EXT:
      case SMALL_ATOM_EXT:
      case ATOM_UTF8_EXT:
      case SMALL_ATOM_UTF8_EXT: {
        const behind = skipTerm(bytes, pos, end)
        if (behind === NEED_MORE) throw truncated(end)
        writeAtomValue(bytes, pos, behind, out, isNulDropped)
        pos = behind
        break
      }
      case NIL_EXT:
        writeAscii(out, '[]')
        pos += 1
        break
      case STRING_EXT: {
        const behind = skipTerm(bytes, pos, end)
        if (behind === NEED_MORE) throw truncated(end)
        out.writeByte(0x5b)
        writeByteElements(bytes, pos + 3, behind, out)
        out.writeByte(0x5d)
        pos = behind
        break
      }
      case MAP_EXT:
      case LIST_EXT:
      case SMALL_TUPLE_EXT:
      case LARGE_TUPLE_EXT: {
        const header = tag === SMALL_TUPLE_EXT ? 2 : 5
        if (end - pos < header) throw truncated(end)
        const count = header === 2 ? bytes[pos + 1]! : uint32At(bytes, pos + 1)
        const opened = tag === MAP_EXT ? MAP : tag === LIST_EXT ? LIST : PLAIN
        if (count * (opened === MAP ? 2 : 1) + (opened === LIST ? 1 : 0) > end - pos - header) {
          throw truncated(end)
        }
        if (count === 0) {
          pos += header
          // A list without elements is its tail, as in Erlang.
          if (opened === LIST) continue
          writeAscii(out, opened === MAP ? '{}' : '[]')
          break
        }
        if (depth === DEPTH_MAX) throw tooDeep(tag, pos, DEPTH_MAX)
        kinds[level] = kind
        lefts[level] = left
        tails[level] = 0
        level++
        depth++
        pos += header
        kind = opened
        left = count
        isKeyRead = opened !== MAP
        isIdKey = false
        out.writeByte(opened === MAP ? 0x7b : 0x5b)
        continue
      }
      default: {
        if (tag === COMPRESSED) throw unknownTag(tag, pos)
        const behind = skipTerm(bytes, pos, end)
        if (behind === NEED_MORE) throw truncated(end)
        out.writeByte(QUOTE)
        if (tag === BIT_BINARY_EXT && isWholeBinary(bytes, pos)) {
          writeEscapedUtf8(out, bytes, pos + 6, behind, isNulDropped)
        } else {
          writeEscapedText(out, rareTermText(bytes, pos, behind), isNulDropped)
        }
        out.writeByte(QUOTE)
        pos = behind
      }
    }
    for (;;) {
      if (level === 0) {
        if (pos !== end) throw trailing(pos, end)
        return
      }
      if (--left > 0) {
        out.writeByte(COMMA)
        isKeyRead = kind !== MAP
        // Whatever key stood last, it stood in an element that is through.
        isIdKey = false
        break
      }
      if (kind === LIST) {
        // Behind the elements: NIL closes the list, a list continues it, anything else is an improper tail.
        while (
          pos < end &&
          bytes[pos] === LIST_EXT &&
          end - pos >= 5 &&
          uint32At(bytes, pos + 1) === 0
        ) {
          pos += 5
        }
        if (pos >= end) throw truncated(end)
        const tag = bytes[pos]!
        if (tag === NIL_EXT) {
          pos++
        } else if (tag === LIST_EXT) {
          if (end - pos < 5) throw truncated(end)
          left = uint32At(bytes, pos + 1)
          if (left >= end - pos - 5) throw truncated(end)
          if (depth === DEPTH_MAX) throw tooDeep(tag, pos, DEPTH_MAX)
          depth++
          tails[level - 1] = tails[level - 1]! + 1
          pos += 5
          out.writeByte(COMMA)
          break
        } else if (tag === STRING_EXT) {
          const behind = skipTerm(bytes, pos, end)
          if (behind === NEED_MORE) throw truncated(end)
          if (behind > pos + 3) out.writeByte(COMMA)
          writeByteElements(bytes, pos + 3, behind, out)
          pos = behind
        } else {
          kind = PLAIN
          left = 1
          out.writeByte(COMMA)
          break
        }
      }
      out.writeByte(kind === MAP ? 0x7d : 0x5d)
      level--
      depth -= 1 + tails[level]!
      kind = kinds[level]!
      left = lefts[level]!
    }
  }
}

/** `"key":`. @returns whether the key is `id` or ends with `_id`. */
function writeKey(
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
  } else if (tag === ATOM_EXT || tag === SMALL_ATOM_EXT) {
    writeEscapedLatin1(out, bytes, start + header, end, isNulDropped)
  } else {
    if (tag !== BINARY_EXT) checkAtomUtf8(bytes, start, start + header, end)
    writeEscapedUtf8(out, bytes, start + header, end, isNulDropped)
  }
  out.writeByte(QUOTE)
  out.writeByte(COLON)
  const length = header === 0 ? 0 : end - start - header
  return (
    length >= 2 &&
    bytes[end - 1] === 0x64 &&
    bytes[end - 2] === 0x69 &&
    (length === 2 || bytes[end - 3] === 0x5f)
  )
}

function writeAtomValue(
  bytes: Uint8Array,
  start: number,
  end: number,
  out: ByteBuffer,
  isNulDropped: boolean,
): void {
  if (isNil(bytes, start, end)) return writeAscii(out, 'null')
  if (isTrue(bytes, start, end)) return writeAscii(out, 'true')
  if (isFalse(bytes, start, end)) return writeAscii(out, 'false')
  const tag = bytes[start]!
  const from = start + atomHeader(tag)
  out.writeByte(QUOTE)
  if (tag === ATOM_EXT || tag === SMALL_ATOM_EXT) {
    writeEscapedLatin1(out, bytes, from, end, isNulDropped)
  } else {
    checkAtomUtf8(bytes, start, from, end)
    writeEscapedUtf8(out, bytes, from, end, isNulDropped)
  }
  out.writeByte(QUOTE)
}

/** JavaScript's shortest form is JSON. An integer under an id key is an id that came as a float. */
function writeFloat(out: ByteBuffer, value: number, isIdKey: boolean): void {
  const magnitude = Math.abs(value)
  const isId =
    isIdKey && Number.isInteger(value) && magnitude >= 0x1_0000_0000 && magnitude < 2 ** 64
  writeAscii(out, isId ? `"${BigInt(value)}"` : String(value))
}

function writeBig(
  bytes: Uint8Array,
  start: number,
  end: number,
  out: ByteBuffer,
  isIdKey: boolean,
): void {
  const count = bytes[start] === SMALL_BIG_EXT ? bytes[start + 1]! : 9
  if (count > 8) {
    const value = bigAt(bytes, start, end)
    const isNumber =
      value >= Number.MIN_SAFE_INTEGER &&
      value <= Number.MAX_SAFE_INTEGER &&
      !(isIdKey && (value >= 0x1_0000_0000n || value <= -0x1_0000_0000n))
    writeAscii(out, isNumber ? String(value) : `"${value}"`)
    return
  }
  let low = 0
  let high = 0
  const digits = start + 3
  for (let i = Math.min(count, 4) - 1; i >= 0; i--) low = (low << 8) | bytes[digits + i]!
  for (let i = count - 1; i >= 4; i--) high = (high << 8) | bytes[digits + i]!
  low >>>= 0
  high >>>= 0
  const isString = high > SAFE_HIGH_MAX || (isIdKey && high > 0)
  if (isString) out.writeByte(QUOTE)
  if (bytes[start + 2] !== 0 && (low !== 0 || high !== 0)) out.writeByte(0x2d)
  writeUint64(out, high, low)
  if (isString) out.writeByte(QUOTE)
}

/** Bytes of a STRING_EXT as numbers between commas. */
function writeByteElements(bytes: Uint8Array, start: number, end: number, out: ByteBuffer): void {
  for (let pos = start; pos < end; pos++) {
    if (pos > start) out.writeByte(COMMA)
    writeUint64(out, 0, bytes[pos]!)
  }
}
