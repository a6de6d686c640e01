/**
 * External terms to JavaScript values. Layouts: skip.ts. One loop: it reads a value, or opens a container and
 * goes on inside; a finished container is a value of the one outside. docs/etf.md has the table of values.
 */
import { cachedAscii } from './ascii-cache.ts'
import { atomText } from './atom-text.ts'
import { bigAt } from './big.ts'
import { Atom } from './encode.ts'
import { badVersion, tooDeep, trailing, truncated, unknownTag } from './errors.ts'
import { oldFloatAt } from './float-text.ts'
import { inflateTerm } from './inflate.ts'
import { finite, keyText } from './key-text.ts'
import { DEPTH_MAX, NEED_MORE } from './limits.ts'
import { isWholeBinary, rareTermText } from './rare-terms.ts'
import { atomHeader, float64, joinHalves, textBytes, textHeader } from './scalar.ts'
import { skipNested, skipTerm } from './skip.ts'
import { asBuffer, utf8Text } from './text.ts'
import { uint32At } from './uint32.ts'

const VERSION = 131
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

/** Above this high half a 64-bit integer is no safe integer of a double (2^53 - 1). */
const SAFE_HIGH_MAX = 0x1f_ffff

/** Up to here a list gets all its room at once. */
const ARRAY_MADE_MAX = 256
/** Longer texts rarely repeat. */
const CACHED_BYTES_MAX = 24

export interface DecodeOptions {
  /** Integers beyond ±(2^53-1): bigint (default) or decimal string. Others are numbers in either case. */
  readonly bigints?: 'bigint' | 'string'
  /** Atoms but nil, null, true, false: string (default) or Atom. */
  readonly atoms?: 'string' | 'atom'
  /** Binaries: text, U+FFFD for what is not UTF-8 (default), or copied bytes. Keys are text in either case. */
  readonly binaries?: 'text' | 'bytes'
}

/**
 * Decodes one whole external term, version byte included.
 *
 * Maps → objects (last of equal keys; `__proto__` is a property like any other) · lists and tuples → arrays, the tail of
 * an improper list last · STRING_EXT → array of numbers · nil, null → null · see docs/etf.md for the rest.
 * @throws EtfError: ETF_TRUNCATED, ETF_TRAILING_BYTES, and for damaged bytes every other code but ETF_BAD_VALUE.
 * Cost: a pass over the bytes, an object for each term; a few times that of skipTerm.
 */
export function decodeTerm(bytes: Uint8Array, options: DecodeOptions = {}): unknown {
  if (bytes.length === 0) throw truncated(0)
  if (bytes[0] !== VERSION) throw badVersion(bytes[0]!, 0)
  return decodeTermAt(bytes, 1, bytes.length, options)
}

const MAP = 0
const LIST = 1
/** A tuple, or a list whose last element is its improper tail: nothing follows the elements. */
const PLAIN = 2

/** A container that is being filled. */
interface Frame {
  kind: number
  readonly object: Record<string, unknown>
  readonly array: unknown[]
  /** Elements that are in `array`. */
  filled: number
  remaining: number
  key: string
  /** Lists that continued this one as its tail; each counts as a level. */
  tails: number
}

const NO_OBJECT: Record<string, unknown> = {}
const NO_ARRAY: unknown[] = []

/** Decodes the one term in `bytes[start, end)`, which has no version byte. As decodeTerm otherwise. */
export function decodeTermAt(
  bytes: Uint8Array,
  start: number,
  end: number,
  options: DecodeOptions = {},
): unknown {
  const buffer = asBuffer(bytes)
  if (start < end && buffer[start] === COMPRESSED) {
    const inflated = inflateTerm(buffer, start, end)
    if (inflated === null) throw truncated(end)
    if (inflated.end !== end) throw trailing(inflated.end, end)
    if (inflated.term[0] === COMPRESSED) throw unknownTag(COMPRESSED, start)
    return decodeTermAt(inflated.term, 0, inflated.term.length, options)
  }
  const isBigString = options.bigints === 'string'
  const isAtomKept = options.atoms === 'atom'
  const isBinaryKept = options.binaries === 'bytes'
  const stack: Frame[] = []
  let frame: Frame | null = null
  let depth = 0
  let isKeyRead = true
  let pos = start
  for (;;) {
    if (!isKeyRead) {
      const header = pos < end ? textHeader(buffer[pos]!) : 0
      const from = pos + header
      let key: string | null = null
      let behind = NEED_MORE
      if (header !== 0 && from <= end) {
        behind = from + textBytes(buffer, pos, header)
        if (behind > end) throw truncated(end)
        key = cachedAscii(buffer, from, behind)
      }
      if (key === null) {
        behind = skipNested(buffer, pos, end, depth)
        if (behind === NEED_MORE) throw truncated(end)
        key = keyText(buffer, pos, behind)
      }
      frame!.key = key
      pos = behind
      isKeyRead = true
    }
    if (pos >= end) throw truncated(end)
    const tag = buffer[pos]!
    let value: unknown
    switch (tag) {
      case SMALL_INTEGER_EXT:
        if (end - pos < 2) throw truncated(end)
        value = buffer[pos + 1]
        pos += 2
        break
      case INTEGER_EXT:
        if (end - pos < 5) throw truncated(end)
        value =
          (buffer[pos + 1]! << 24) |
          (buffer[pos + 2]! << 16) |
          (buffer[pos + 3]! << 8) |
          buffer[pos + 4]!
        pos += 5
        break
      case NEW_FLOAT_EXT:
        if (end - pos < 9) throw truncated(end)
        value = finite(float64(buffer, pos + 1), pos)
        pos += 9
        break
      case ATOM_EXT:
      case SMALL_ATOM_EXT:
      case ATOM_UTF8_EXT:
      case SMALL_ATOM_UTF8_EXT: {
        const behind = skipTerm(buffer, pos, end)
        if (behind === NEED_MORE) throw truncated(end)
        const from = pos + atomHeader(tag)
        value = literal(buffer, from, behind - from)
        if (value === undefined) {
          const name = cachedAscii(buffer, from, behind) ?? atomText(buffer, pos, behind)
          value = isAtomKept ? new Atom(name) : name
        }
        pos = behind
        break
      }
      case BINARY_EXT: {
        if (end - pos < 5) throw truncated(end)
        const from = pos + 5
        const length = uint32At(buffer, pos + 1)
        if (length > end - from) throw truncated(end)
        pos = from + length
        value = isBinaryKept
          ? new Uint8Array(buffer.subarray(from, pos))
          : length > 8 && length <= CACHED_BYTES_MAX
            ? (cachedAscii(buffer, from, pos) ?? utf8Text(buffer, from, pos))
            : utf8Text(buffer, from, pos)
        break
      }
      case SMALL_BIG_EXT:
      case LARGE_BIG_EXT: {
        const behind =
          tag === SMALL_BIG_EXT && end - pos >= 3
            ? pos + 3 + buffer[pos + 1]!
            : skipTerm(buffer, pos, end)
        if (behind === NEED_MORE || behind > end) throw truncated(end)
        value = integer(buffer, pos, behind, isBigString)
        pos = behind
        break
      }
      case NIL_EXT:
        value = []
        pos += 1
        break
      case STRING_EXT: {
        if (end - pos < 3) throw truncated(end)
        const from = pos + 3
        const length = (buffer[pos + 1]! << 8) | buffer[pos + 2]!
        if (length > end - from) throw truncated(end)
        pos = from + length
        value = Array.from(buffer.subarray(from, pos))
        break
      }
      case MAP_EXT:
      case LIST_EXT:
      case SMALL_TUPLE_EXT:
      case LARGE_TUPLE_EXT: {
        const header = tag === SMALL_TUPLE_EXT ? 2 : 5
        if (end - pos < header) throw truncated(end)
        const count = header === 2 ? buffer[pos + 1]! : uint32At(buffer, pos + 1)
        const kind: number = tag === MAP_EXT ? MAP : tag === LIST_EXT ? LIST : PLAIN
        // Each element takes a byte at least, a pair two, and a list has a tail: else it is cut, whatever it claims.
        if (count * (kind === MAP ? 2 : 1) + (kind === LIST ? 1 : 0) > end - pos - header) {
          throw truncated(end)
        }
        if (count === 0) {
          pos += header
          // A list without elements is its tail, as in Erlang.
          if (kind === LIST) continue
          value = kind === MAP ? {} : []
          break
        }
        if (depth === DEPTH_MAX) throw tooDeep(tag, pos, DEPTH_MAX)
        depth++
        pos += header
        if (frame !== null) stack.push(frame)
        frame = {
          kind,
          object: kind === MAP ? {} : NO_OBJECT,
          array: kind === MAP ? NO_ARRAY : count <= ARRAY_MADE_MAX ? new Array(count) : [],
          filled: 0,
          remaining: count,
          key: '',
          tails: 0,
        }
        isKeyRead = kind !== MAP
        continue
      }
      case FLOAT_EXT:
        if (end - pos < 32) throw truncated(end)
        value = oldFloatAt(buffer, pos)
        pos += 32
        break
      default: {
        if (tag === COMPRESSED) throw unknownTag(tag, pos)
        const behind = skipTerm(buffer, pos, end)
        if (behind === NEED_MORE) throw truncated(end)
        value = rareValue(buffer, pos, behind, isBinaryKept)
        pos = behind
      }
    }
    for (;;) {
      if (frame === null) {
        if (pos !== end) throw trailing(pos, end)
        return value
      }
      if (frame.kind === MAP) {
        setProperty(frame.object, frame.key, value)
      } else {
        frame.array[frame.filled++] = value
      }
      if (--frame.remaining > 0) {
        isKeyRead = frame.kind !== MAP
        break
      }
      if (frame.kind === LIST) {
        const behind = tailOf(buffer, pos, end, frame)
        if (frame.remaining > 0) {
          depth += frame.kind === LIST ? 1 : 0
          if (depth > DEPTH_MAX) throw tooDeep(LIST_EXT, pos, DEPTH_MAX)
          pos = behind
          break
        }
        pos = behind
      }
      value = frame.kind === MAP ? frame.object : frame.array
      depth -= 1 + frame.tails
      frame = stack.pop() ?? null
    }
  }
}

/**
 * What follows the elements of a list. NIL closes it; a list continues it; anything else is an improper
 * tail, which becomes the last element.
 *
 * @returns the offset to go on at; `frame.remaining` says how many elements come from there.
 */
function tailOf(bytes: Uint8Array, start: number, end: number, frame: Frame): number {
  let pos = start
  for (;;) {
    if (pos >= end) throw truncated(end)
    const tag = bytes[pos]!
    if (tag === NIL_EXT) return pos + 1
    if (tag === LIST_EXT) {
      if (end - pos < 5) throw truncated(end)
      const count = uint32At(bytes, pos + 1)
      pos += 5
      if (count >= end - pos) throw truncated(end)
      if (count === 0) continue
      frame.remaining = count
      frame.tails++
      return pos
    }
    if (tag === STRING_EXT) {
      const behind = skipTerm(bytes, pos, end)
      if (behind === NEED_MORE) throw truncated(end)
      for (let at = pos + 3; at < behind; at++) frame.array.push(bytes[at])
      return behind
    }
    frame.kind = PLAIN
    frame.remaining = 1
    return pos
  }
}

/** The value of the atoms nil, null, true and false; undefined for any other. */
function literal(bytes: Uint8Array, from: number, length: number): boolean | null | undefined {
  if (length < 3 || length > 5) return undefined
  const three = (bytes[from]! << 16) | (bytes[from + 1]! << 8) | bytes[from + 2]!
  if (three === 0x6e696c && length === 3) return null
  if (three === 0x747275 && length === 4 && bytes[from + 3] === 0x65) return true
  if (three === 0x66616c && length === 5 && bytes[from + 3] === 0x73 && bytes[from + 4] === 0x65) {
    return false
  }
  return three === 0x6e756c && length === 4 && bytes[from + 3] === 0x6c ? null : undefined
}

/** A number when it is safe, else a bigint or its decimal text. */
function integer(
  bytes: Uint8Array,
  start: number,
  end: number,
  isString: boolean,
): number | bigint | string {
  const count = bytes[start] === SMALL_BIG_EXT ? bytes[start + 1]! : 9
  if (count <= 8) {
    let low = 0
    let high = 0
    const digits = start + 3
    for (let i = Math.min(count, 4) - 1; i >= 0; i--) low = (low << 8) | bytes[digits + i]!
    for (let i = count - 1; i >= 4; i--) high = (high << 8) | bytes[digits + i]!
    low >>>= 0
    high >>>= 0
    const isNegative = bytes[start + 2] !== 0
    if (high <= SAFE_HIGH_MAX) {
      const value = high * 0x1_0000_0000 + low
      return isNegative && value !== 0 ? -value : value
    }
    const whole = joinHalves(high, low)
    const signed = isNegative ? -whole : whole
    return isString ? String(signed) : signed
  }
  const value = bigAt(bytes, start, end)
  if (value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER) return Number(value)
  return isString ? String(value) : value
}

function rareValue(bytes: Buffer, start: number, end: number, isBinaryKept: boolean): unknown {
  if (bytes[start] !== BIT_BINARY_EXT || !isWholeBinary(bytes, start)) {
    return rareTermText(bytes, start, end)
  }
  return isBinaryKept
    ? new Uint8Array(bytes.subarray(start + 6, end))
    : bytes.toString('utf8', start + 6, end)
}

/** `object['__proto__'] = x` would change the prototype: that key alone is defined. */
function setProperty(object: Record<string, unknown>, key: string, value: unknown): void {
  if (key === '__proto__') {
    Object.defineProperty(object, key, {
      value,
      writable: true,
      enumerable: true,
      configurable: true,
    })
  } else {
    object[key] = value
  }
}
