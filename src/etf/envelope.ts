/**
 * Finds op, s, t and the bytes of d in a gateway payload without walking d.
 *
 *   | 131 | 116 MAP | arity u32 | key | value | … |
 *
 *   up to OTP 25 keys are sorted:  d {…… up to megabytes ……}  op 0  s 7213  t MESSAGE_CREATE |
 *                                  ^ forward: exact            ^ from the end backwards      end
 *
 * Pairs are read forwards until `d`. Those behind it are found from the end backwards, one by one, each
 * reaching exactly to where the one behind it starts. Nothing that a user wrote stands behind `d`, so that
 * nothing can be mistaken for them. Since OTP 26 a map's keys come in any order; this finds them in each.
 * Whatever has not these four keys, each once, is walked.
 * @see Discord Docs/Gateway Events#payload-structure
 */
import { badVersion, beyondLimit, EtfError } from './errors.ts'
import { EVENT_NAME_BYTES_MAX, NEED_MORE } from './limits.ts'
import { scanQuickly } from './quick-envelope.ts'
import { integerAt, isNil, textHeader } from './scalar.ts'
import { skipNested, skipTerm } from './skip.ts'
import { uint32At } from './uint32.ts'

const VERSION = 131
const COMPRESSED = 80
const NEW_FLOAT_EXT = 70
const SMALL_INTEGER_EXT = 97
const INTEGER_EXT = 98
const ATOM_EXT = 100
const SMALL_TUPLE_EXT = 104
const LARGE_TUPLE_EXT = 105
const LIST_EXT = 108
const BINARY_EXT = 109
const SMALL_BIG_EXT = 110
const SMALL_ATOM_EXT = 115
const MAP_EXT = 116
const ATOM_UTF8_EXT = 118
const SMALL_ATOM_UTF8_EXT = 119

const KEY_OTHER = 0
const KEY_D = 1
const KEY_OP = 2
const KEY_S = 4
const KEY_T = 8
/** Only a payload of exactly these four is scanned from its end: none of them can hide behind another key. */
const KEYS = 4

/** Bytes from the first of `op`, `s`, `t` to the end: three pairs with binary keys, and the longest name. */
const TAIL_BYTES_MAX = 64 + EVENT_NAME_BYTES_MAX
/** A pair is at least a key of three bytes (115, 1, `s`) and a value of two (115, 0). */
const PAIR_BYTES_MIN = 5

/** The outcome of scanEnvelope. One object per connection is filled again and again. */
export class Envelope {
  op = -1
  /** `s`; -1 when absent or nil. Above 2^31 it is a number all the same. */
  sequence = -1
  /** Text of `t` (binary or atom), without tag; equal when absent or nil. */
  nameStart = 0
  nameEnd = 0
  /** The term `d`, its tag first; -1 when absent. */
  dStart = -1
  dEnd = -1

  reset(): void {
    this.op = -1
    this.sequence = -1
    this.nameStart = 0
    this.nameEnd = 0
    this.dStart = -1
    this.dEnd = -1
  }
}

/**
 * Scans one whole payload.
 *
 * @param start  of the version byte 131
 * @param end    of the payload, exclusive: the scanner relies on nothing standing behind it
 * @returns the offset behind the payload, or NEED_MORE when it is cut. With `d` last its containers are not
 *   walked, so that a cut inside of them shows only when `d` is read.
 * @throws EtfError ETF_BAD_VERSION, ETF_BAD_ENVELOPE, ETF_LIMIT (name), and those of skipTerm. `out` is then undefined.
 * Cost: independent of the size of `d` when it is first, last or followed by known keys; else skipTerm. No allocation.
 */
export function scanEnvelope(bytes: Uint8Array, start: number, end: number, out: Envelope): number {
  if (scanQuickly(bytes, start, end, out)) return end
  out.reset()
  if (start >= end) return NEED_MORE
  if (bytes[start] !== VERSION) throw badVersion(bytes[start]!, start)
  if (end - start < 2) return NEED_MORE
  if (bytes[start + 1] !== MAP_EXT) {
    // Damaged bytes get the reader's own error, sound ones of another kind the envelope's.
    if (bytes[start + 1] !== COMPRESSED && skipTerm(bytes, start + 1, end) === NEED_MORE) {
      return NEED_MORE
    }
    throw badEnvelope(start + 1, `it is no map but begins with tag ${bytes[start + 1]}`)
  }
  if (end - start < 6) return NEED_MORE
  const arity = uint32At(bytes, start + 2)
  let pos = start + 6
  if (arity * 2 > end - pos) return NEED_MORE

  let seen = 0
  for (let index = 0; index < arity; index++) {
    const key = keyAt(bytes, pos, end)
    if (key === KEY_OTHER || (seen & key) !== 0) return walk(bytes, start, end, out)
    pos += keyBytes(bytes[pos]!, key)
    if (key === KEY_D) {
      out.dStart = pos
      const pairs = arity - index - 1
      if (
        pairs === 0
          ? takeLast(bytes, end, out)
          : arity === KEYS && scanTail(bytes, end, pairs, seen, out)
      ) {
        return end
      }
      return walk(bytes, start, end, out)
    }
    seen |= key
    pos = takeValue(bytes, pos, end, key, out)
    if (pos === NEED_MORE) return NEED_MORE
  }
  if (out.op < 0) throw badEnvelope(start, 'it has no `op`')
  return pos
}

/** `d` is last: a container is trusted to end where the payload does; a scalar is as quickly walked. */
function takeLast(bytes: Uint8Array, end: number, out: Envelope): boolean {
  if (out.op < 0 || out.dStart >= end || !isContainer(bytes[out.dStart]!)) return false
  out.dEnd = end
  return true
}

/**
 * The pairs behind `d`, from the end: the nearest place where a wanted pair ends at the end, then the
 * nearest where one ends at the start of that, until none is missing. False when some cannot be found.
 */
function scanTail(
  bytes: Uint8Array,
  end: number,
  pairs: number,
  seenBefore: number,
  out: Envelope,
): boolean {
  const dStart = out.dStart
  if (dStart >= end || !isContainer(bytes[dStart]!)) return false
  const first = Math.max(dStart + 1, end - TAIL_BYTES_MAX)
  let seen = seenBefore | KEY_D
  let missing = pairs
  let stop = end
  for (let pos = end - PAIR_BYTES_MIN; pos >= first; pos--) {
    const tag = bytes[pos]!
    // Capitals, digits and the underscore of names are below every tag of a key.
    if (tag < ATOM_EXT) continue
    const key = keyAt(bytes, pos, stop)
    if (key === KEY_OTHER || (seen & key) !== 0) continue
    const value = pos + keyBytes(tag, key)
    if (scalarEnd(bytes, value, stop) !== stop || !fits(bytes, value, stop, key)) continue
    take(bytes, value, stop, key, out)
    seen |= key
    stop = pos
    if (--missing === 0) {
      out.dEnd = pos
      return out.op >= 0
    }
    pos -= PAIR_BYTES_MIN - 1
  }
  return false
}

/** The slow way, for every order and any other key: each term is stepped over. A repeated key's last value counts. */
function walk(bytes: Uint8Array, start: number, end: number, out: Envelope): number {
  out.reset()
  const arity = uint32At(bytes, start + 2)
  let pos = start + 6
  for (let index = 0; index < arity; index++) {
    const key = keyAt(bytes, pos, end)
    if (key === KEY_OTHER) {
      pos = skipNested(bytes, pos, end, 1)
      if (pos !== NEED_MORE) pos = skipNested(bytes, pos, end, 1)
    } else {
      pos += keyBytes(bytes[pos]!, key)
      if (key === KEY_D) {
        out.dStart = pos
        pos = skipNested(bytes, pos, end, 1)
        out.dEnd = pos
      } else {
        pos = takeValue(bytes, pos, end, key, out)
      }
    }
    if (pos === NEED_MORE) return NEED_MORE
  }
  if (out.op < 0) throw badEnvelope(start, 'it has no `op`')
  return pos
}

/** Checks and stores the value of op, s or t. @returns the offset behind it or NEED_MORE */
function takeValue(
  bytes: Uint8Array,
  pos: number,
  end: number,
  key: number,
  out: Envelope,
): number {
  let behind = scalarEnd(bytes, pos, end)
  if (behind === NEED_MORE) behind = skipNested(bytes, pos, end, 1)
  if (behind === NEED_MORE) return NEED_MORE
  if (!fits(bytes, pos, behind, key)) throw misfit(bytes, pos, behind, key)
  take(bytes, pos, behind, key, out)
  return behind
}

/** Whether a value is one that its key can have. */
function fits(bytes: Uint8Array, pos: number, end: number, key: number): boolean {
  if (key === KEY_T) {
    const header = textHeader(bytes[pos]!)
    return header !== 0 && end - pos - header <= EVENT_NAME_BYTES_MAX
  }
  const value = integerAt(bytes, pos, end)
  return value === null ? key === KEY_S && isNil(bytes, pos, end) : value >= 0
}

/** Stores a value that fits. */
function take(bytes: Uint8Array, pos: number, end: number, key: number, out: Envelope): void {
  if (key === KEY_T) {
    const isName = !isNil(bytes, pos, end)
    out.nameStart = isName ? pos + textHeader(bytes[pos]!) : 0
    out.nameEnd = isName ? end : 0
  } else if (key === KEY_OP) {
    out.op = integerAt(bytes, pos, end) ?? -1
  } else {
    out.sequence = integerAt(bytes, pos, end) ?? -1
  }
}

function misfit(bytes: Uint8Array, pos: number, end: number, key: number): EtfError {
  const tag = bytes[pos]!
  const header = textHeader(tag)
  if (key === KEY_T && header !== 0) {
    const length = end - pos - header
    return beyondLimit(tag, pos, 'The event name', length, EVENT_NAME_BYTES_MAX)
  }
  const name = key === KEY_T ? 't' : key === KEY_OP ? 'op' : 's'
  const wanted = key === KEY_T ? 'text' : 'an integer of 0 to 2^53 - 1'
  return badEnvelope(pos, `\`${name}\` is not ${wanted}`)
}

/** Which of the four keys stands at `pos`, whole; KEY_OTHER for any other term. */
function keyAt(bytes: Uint8Array, pos: number, end: number): number {
  if (end - pos < 3) return KEY_OTHER
  let text = pos
  let length = 0
  switch (bytes[pos]) {
    case ATOM_EXT:
    case ATOM_UTF8_EXT:
      if (bytes[pos + 1] !== 0) return KEY_OTHER
      length = bytes[pos + 2]!
      text = pos + 3
      break
    case SMALL_ATOM_EXT:
    case SMALL_ATOM_UTF8_EXT:
      length = bytes[pos + 1]!
      text = pos + 2
      break
    case BINARY_EXT:
      if (end - pos < 6 || (bytes[pos + 1]! | bytes[pos + 2]! | bytes[pos + 3]!) !== 0) {
        return KEY_OTHER
      }
      length = bytes[pos + 4]!
      text = pos + 5
      break
    default:
      return KEY_OTHER
  }
  if (text + length > end) return KEY_OTHER
  if (length === 1) {
    const letter = bytes[text]
    if (letter === 0x64) return KEY_D
    if (letter === 0x73) return KEY_S
    return letter === 0x74 ? KEY_T : KEY_OTHER
  }
  return length === 2 && bytes[text] === 0x6f && bytes[text + 1] === 0x70 ? KEY_OP : KEY_OTHER
}

/** Bytes of a known key: tag, length, text. */
function keyBytes(tag: number, key: number): number {
  return textHeader(tag) + (key === KEY_OP ? 2 : 1)
}

/** skipTerm for what op, s and t can be; never throws. */
function scalarEnd(bytes: Uint8Array, pos: number, end: number): number {
  if (end - pos < 2) return NEED_MORE
  let behind = NEED_MORE
  switch (bytes[pos]) {
    case SMALL_INTEGER_EXT:
      behind = pos + 2
      break
    case INTEGER_EXT:
      behind = pos + 5
      break
    case NEW_FLOAT_EXT:
      behind = pos + 9
      break
    case SMALL_BIG_EXT:
      behind = pos + 3 + bytes[pos + 1]!
      break
    case SMALL_ATOM_EXT:
    case SMALL_ATOM_UTF8_EXT:
      behind = pos + 2 + bytes[pos + 1]!
      break
    case ATOM_EXT:
    case ATOM_UTF8_EXT:
      // No atom of an envelope is longer than 255 bytes: the length's high byte is 0.
      if (bytes[pos + 1] === 0 && end - pos >= 3) behind = pos + 3 + bytes[pos + 2]!
      break
    case BINARY_EXT:
      if (end - pos >= 5) behind = pos + 5 + uint32At(bytes, pos + 1)
      break
    default:
      return NEED_MORE
  }
  return behind > end ? NEED_MORE : behind
}

function isContainer(tag: number): boolean {
  return tag === MAP_EXT || tag === LIST_EXT || tag === SMALL_TUPLE_EXT || tag === LARGE_TUPLE_EXT
}

function badEnvelope(offset: number, why: string): EtfError {
  return new EtfError(
    'ETF_BAD_ENVELOPE',
    `At offset ${offset} a payload is not one of the gateway's: ${why}.`,
    { offset },
  )
}
