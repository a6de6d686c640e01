/**
 * External terms to JSON text, bytes to bytes. The loop is that of decode.ts, but that a container leaves its
 * brackets instead of an object.
 *
 * Numbers follow Discord's JSON: an integer beyond ±(2^53-1) is a string, and so is one of 2^32 and more
 * directly under a key `id` or `*_id`; every other is a number.
 */
import type { ByteBuffer } from './byte-buffer.ts'
import { tooDeep, trailing, truncated, unknownTag } from './errors.ts'
import { oldFloatAt } from './float-text.ts'
import { inflateTerm } from './inflate.ts'
import { copyPlain, PIECE_BYTES, putAscii, putUint32, writeEscapedUtf8 } from './json-text.ts'
import {
  floatText,
  isIdName,
  putBig,
  writeAtom,
  writeByteElements,
  writeLargeBig,
  writeOddKey,
  writeRareTerm,
} from './json-terms.ts'
import { finite } from './key-text.ts'
import { DEPTH_MAX, NEED_MORE } from './limits.ts'
import { float64, isFalse, isNil, isTrue, textBytes, textHeader } from './scalar.ts'
import { skipNested, skipTerm } from './skip.ts'
import { uint32At } from './uint32.ts'

const NEW_FLOAT_EXT = 70
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
const MINUS = 0x2d
const OPEN_LIST = 0x5b
const CLOSE_LIST = 0x5d
const OPEN_MAP = 0x7b
const CLOSE_MAP = 0x7d
/** A key that may be written without asking for room. */
const PLAIN_KEY_BYTES_MAX = 64
/** Room for such a key with its quotes and colon, a number or literal, and what follows it. */
const TOKEN_BYTES_MAX = PLAIN_KEY_BYTES_MAX + 64

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
  // What is written is target[0, at); `out` learns of it before others write to it, and at the end.
  let target = out.bytes
  let at = out.length
  for (;;) {
    if (target.length - at < TOKEN_BYTES_MAX) {
      out.length = at
      out.reserve(TOKEN_BYTES_MAX)
      target = out.bytes
    }
    if (!isKeyRead) {
      const header = pos < end ? textHeader(bytes[pos]!) : 0
      const from = pos + header
      let to = NEED_MORE
      if (header !== 0 && from <= end) {
        const behind = from + textBytes(bytes, pos, header)
        if (behind > end) throw truncated(end)
        if (behind - from <= PLAIN_KEY_BYTES_MAX) {
          target[at] = QUOTE
          to = copyPlain(target, at + 1, bytes, from, behind)
        }
        if (to !== NEED_MORE) {
          at = to
          isIdKey = isIdName(bytes, from, behind)
          pos = behind
        }
      }
      if (to === NEED_MORE) {
        const behind = skipNested(bytes, pos, end, depth)
        if (behind === NEED_MORE) throw truncated(end)
        out.length = at
        isIdKey = writeOddKey(bytes, pos, behind, out, isNulDropped)
        out.reserve(TOKEN_BYTES_MAX)
        target = out.bytes
        at = out.length
        pos = behind
      }
      target[at++] = QUOTE
      target[at++] = COLON
      isKeyRead = true
    }
    if (pos >= end) throw truncated(end)
    const tag = bytes[pos]!
    switch (tag) {
      case SMALL_INTEGER_EXT:
        if (end - pos < 2) throw truncated(end)
        at = putUint32(target, at, bytes[pos + 1]!)
        pos += 2
        break
      case INTEGER_EXT: {
        if (end - pos < 5) throw truncated(end)
        const value = uint32At(bytes, pos + 1) | 0
        if (value < 0) target[at++] = MINUS
        at = putUint32(target, at, Math.abs(value))
        pos += 5
        break
      }
      case NEW_FLOAT_EXT:
        if (end - pos < 9) throw truncated(end)
        at = putAscii(target, at, floatText(finite(float64(bytes, pos + 1), pos), isIdKey))
        pos += 9
        break
      case FLOAT_EXT:
        if (end - pos < 32) throw truncated(end)
        at = putAscii(target, at, floatText(oldFloatAt(bytes, pos), isIdKey))
        pos += 32
        break
      case SMALL_BIG_EXT:
      case LARGE_BIG_EXT: {
        const behind = skipTerm(bytes, pos, end)
        if (behind === NEED_MORE) throw truncated(end)
        if (tag === SMALL_BIG_EXT && bytes[pos + 1]! <= 8) {
          at = putBig(target, at, bytes, pos, isIdKey)
        } else {
          out.length = at
          writeLargeBig(bytes, pos, behind, out, isIdKey)
          target = out.bytes
          at = out.length
        }
        pos = behind
        break
      }
      case BINARY_EXT: {
        if (end - pos < 5) throw truncated(end)
        const from = pos + 5
        const size = uint32At(bytes, pos + 1)
        if (size > end - from) throw truncated(end)
        pos = from + size
        target[at++] = QUOTE
        if (size <= PIECE_BYTES && target.length - at < size) {
          out.length = at
          out.reserve(size)
          target = out.bytes
        }
        const to = size <= PIECE_BYTES ? copyPlain(target, at, bytes, from, pos) : NEED_MORE
        out.length = to === NEED_MORE ? at : to
        if (to === NEED_MORE) writeEscapedUtf8(out, bytes, from, pos, isNulDropped)
        out.writeByte(QUOTE)
        target = out.bytes
        at = out.length
        break
      }
      case ATOM_EXT:
      case SMALL_ATOM_EXT:
      case ATOM_UTF8_EXT:
      case SMALL_ATOM_UTF8_EXT: {
        const behind = skipTerm(bytes, pos, end)
        if (behind === NEED_MORE) throw truncated(end)
        if (isNil(bytes, pos, behind)) at = putAscii(target, at, 'null')
        else if (isTrue(bytes, pos, behind)) at = putAscii(target, at, 'true')
        else if (isFalse(bytes, pos, behind)) at = putAscii(target, at, 'false')
        else {
          out.length = at
          writeAtom(bytes, pos, behind, out, isNulDropped)
          target = out.bytes
          at = out.length
        }
        pos = behind
        break
      }
      case NIL_EXT:
        target[at++] = OPEN_LIST
        target[at++] = CLOSE_LIST
        pos += 1
        break
      case STRING_EXT: {
        const behind = skipTerm(bytes, pos, end)
        if (behind === NEED_MORE) throw truncated(end)
        target[at++] = OPEN_LIST
        out.length = at
        writeByteElements(bytes, pos + 3, behind, out)
        out.writeByte(CLOSE_LIST)
        target = out.bytes
        at = out.length
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
          target[at++] = opened === MAP ? OPEN_MAP : OPEN_LIST
          target[at++] = opened === MAP ? CLOSE_MAP : CLOSE_LIST
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
        target[at++] = opened === MAP ? OPEN_MAP : OPEN_LIST
        continue
      }
      default: {
        if (tag === COMPRESSED) throw unknownTag(tag, pos)
        const behind = skipTerm(bytes, pos, end)
        if (behind === NEED_MORE) throw truncated(end)
        out.length = at
        writeRareTerm(bytes, pos, behind, out, isNulDropped)
        target = out.bytes
        at = out.length
        pos = behind
      }
    }
    for (;;) {
      if (level === 0) {
        if (pos !== end) throw trailing(pos, end)
        out.length = at
        return
      }
      if (target.length === at) {
        out.length = at
        out.reserve(TOKEN_BYTES_MAX)
        target = out.bytes
      }
      if (--left > 0) {
        target[at++] = COMMA
        isKeyRead = kind !== MAP
        // Whatever key stood last, it stood in an element that is through.
        isIdKey = false
        break
      }
      if (kind === LIST) {
        // Behind the elements: NIL closes the list, a list continues it, anything else is an improper tail.
        while (isEmptyList(bytes, pos, end)) pos += 5
        if (pos >= end) throw truncated(end)
        const tail = bytes[pos]!
        if (tail === NIL_EXT) {
          pos++
        } else if (tail === LIST_EXT) {
          if (end - pos < 5) throw truncated(end)
          left = uint32At(bytes, pos + 1)
          if (left >= end - pos - 5) throw truncated(end)
          if (depth === DEPTH_MAX) throw tooDeep(tail, pos, DEPTH_MAX)
          depth++
          tails[level - 1] = tails[level - 1]! + 1
          pos += 5
          target[at++] = COMMA
          isIdKey = false
          break
        } else if (tail === STRING_EXT) {
          const behind = skipTerm(bytes, pos, end)
          if (behind === NEED_MORE) throw truncated(end)
          if (behind > pos + 3) target[at++] = COMMA
          out.length = at
          writeByteElements(bytes, pos + 3, behind, out)
          out.reserve(TOKEN_BYTES_MAX)
          target = out.bytes
          at = out.length
          pos = behind
        } else {
          kind = PLAIN
          left = 1
          target[at++] = COMMA
          isIdKey = false
          break
        }
      }
      target[at++] = kind === MAP ? CLOSE_MAP : CLOSE_LIST
      level--
      depth -= 1 + tails[level]!
      kind = kinds[level]!
      left = lefts[level]!
    }
  }
}

function isEmptyList(bytes: Uint8Array, pos: number, end: number): boolean {
  return end - pos >= 5 && bytes[pos] === LIST_EXT && uint32At(bytes, pos + 1) === 0
}
