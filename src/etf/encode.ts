/**
 * JavaScript values to external terms: what a bot sends to Discord (binary keys, atoms nil, true, false
 * as tag 100 or 115: servers refuse 119), and what a server of Discord's kind sends (atom keys, STRING_EXT).
 * Layouts: skip.ts. The writer keeps its open containers on a stack, so that no value nests too deep for it.
 */
import { ByteBuffer } from './byte-buffer.ts'
import { EtfError, beyondLimit, tooDeep } from './errors.ts'
import { ATOM_BYTES_MAX, ATOM_CHARACTERS_MAX, BIG_BYTES_MAX, DEPTH_MAX } from './limits.ts'

const VERSION = 131
const NEW_FLOAT_EXT = 70
const SMALL_INTEGER_EXT = 97
const INTEGER_EXT = 98
const ATOM_EXT = 100
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

const STRING_ELEMENTS_MAX = 65_535
const SHORT_TEXT_MAX = 32
const INT32_MAX = 2_147_483_647
const INT32_MIN = -2_147_483_648

/** A value that is written as an atom, such as `t` in what Discord sends. */
export class Atom {
  readonly name: string

  constructor(name: string) {
    this.name = name
  }

  toString(): string {
    return this.name
  }

  toJSON(): string {
    return this.name
  }
}

export interface EncodeOptions {
  /** Tag of atoms: ATOM_EXT (default, which every reader knows), SMALL_ATOM_EXT, SMALL_ATOM_UTF8_EXT. */
  readonly atoms?: 100 | 115 | 119
  /** Keys of objects: binaries (default, the only ones Discord accepts) or atoms, as Discord writes them. */
  readonly keys?: 'binary' | 'atom'
  /** Lists of integers 0 to 255 as STRING_EXT, which is what Erlang does. Default false. */
  readonly strings?: boolean
}

/**
 * Encodes a value as one external term with version byte.
 *
 * null and undefined in lists → nil · booleans → atoms · integers → 97, 98, 110 · other numbers → 70 ·
 * bigint → 110, 111 as short as it goes · string → binary UTF-8 · Uint8Array → binary · Atom → atom ·
 * array → list · Map → map with keys encoded as values · other objects → map of own enumerable properties but undefined ones.
 * @throws EtfError ETF_BAD_VALUE, ETF_TOO_DEEP (cycles too), ETF_LIMIT
 */
export function encodeTerm(value: unknown, options: EncodeOptions = {}): Uint8Array {
  const out = scratch ?? new ByteBuffer()
  scratch = null
  out.clear()
  try {
    out.writeByte(VERSION)
    writeTerm(out, value, options)
    return Buffer.from(out.view())
  } finally {
    if (out.bytes.length <= SCRATCH_BYTES_MAX) scratch = out
  }
}

/** Appends the term of `value` without version byte. As encodeTerm otherwise. */
export function writeTerm(out: ByteBuffer, value: unknown, options: EncodeOptions = {}): void {
  const atomTag = options.atoms ?? ATOM_EXT
  const atomKeys = options.keys === 'atom'
  const strings = options.strings === true
  const stack: Frame[] = []
  let current: unknown = value
  for (;;) {
    const frame = writeValue(out, current, atomTag, strings)
    if (frame !== null) {
      if (stack.length === DEPTH_MAX)
        throw tooDeep(out.bytes[out.length - 5]!, out.length, DEPTH_MAX)
      stack.push(frame)
    }
    for (;;) {
      const top = stack.at(-1)
      if (top === undefined) return
      if (top.index === top.values.length) {
        if (top.isList) out.writeByte(NIL_EXT)
        stack.pop()
        continue
      }
      if (top.keys !== null) {
        const key = top.keys[top.index]!
        if (atomKeys) writeAtom(out, key, atomTag)
        else writeBinaryText(out, key)
      }
      current = top.values[top.index++]
      break
    }
  }
}

/** A container whose elements are still being written. */
interface Frame {
  readonly values: readonly unknown[]
  /** Keys of an object; null for lists, and for a Map whose keys stand among the values. */
  readonly keys: readonly string[] | null
  readonly isList: boolean
  index: number
}

const SCRATCH_BYTES_MAX = 1024 * 1024
/** Memory that the next call may use; null while a call has it (a getter may encode in the middle of one). */
let scratch: ByteBuffer | null = null

/** Writes a scalar whole, or a container's head; then its frame is returned. */
function writeValue(
  out: ByteBuffer,
  value: unknown,
  atomTag: number,
  strings: boolean,
): Frame | null {
  switch (typeof value) {
    case 'string':
      writeBinaryText(out, value)
      return null
    case 'number':
      writeNumber(out, value)
      return null
    case 'boolean':
      writeAtom(out, value ? 'true' : 'false', atomTag)
      return null
    case 'bigint':
      writeBig(out, value)
      return null
    case 'undefined':
      writeAtom(out, 'nil', atomTag)
      return null
    case 'object':
      if (value === null) {
        writeAtom(out, 'nil', atomTag)
        return null
      }
      return writeObject(out, value, atomTag, strings)
    default:
      throw badValue(`a ${typeof value} has no external term`)
  }
}

function writeObject(
  out: ByteBuffer,
  value: object,
  atomTag: number,
  strings: boolean,
): Frame | null {
  if (Array.isArray(value)) return writeList(out, value, strings)
  if (value instanceof Atom) {
    writeAtom(out, value.name, atomTag)
    return null
  }
  if (value instanceof Uint8Array) {
    out.writeByte(BINARY_EXT)
    out.writeUint32(value.length)
    out.writeBytes(value)
    return null
  }
  if (value instanceof Map) {
    out.writeByte(MAP_EXT)
    out.writeUint32(value.size)
    return { values: [...value].flat(1), keys: null, isList: false, index: 0 }
  }
  const keys: string[] = []
  const values: unknown[] = []
  for (const key of Object.keys(value)) {
    const property = (value as Record<string, unknown>)[key]
    if (property === undefined) continue
    keys.push(key)
    values.push(property)
  }
  out.writeByte(MAP_EXT)
  out.writeUint32(keys.length)
  return { values, keys, isList: false, index: 0 }
}

function writeList(out: ByteBuffer, list: readonly unknown[], strings: boolean): Frame | null {
  const count = list.length
  if (count === 0) {
    out.writeByte(NIL_EXT)
    return null
  }
  if (strings && count <= STRING_ELEMENTS_MAX && areBytes(list)) {
    out.reserve(3 + count)
    out.writeByte(STRING_EXT)
    out.writeByte(count >>> 8)
    out.writeByte(count & 0xff)
    for (const byte of list) out.writeByte(byte as number)
    return null
  }
  out.writeByte(LIST_EXT)
  out.writeUint32(count)
  return { values: list, keys: null, isList: true, index: 0 }
}

/** Holes are not bytes: the loop sees them, `every` would not. */
function areBytes(list: readonly unknown[]): boolean {
  for (let index = 0; index < list.length; index++) {
    const value = list[index]
    if (typeof value !== 'number' || value < 0 || value > 255 || !Number.isInteger(value)) {
      return false
    }
  }
  return true
}

function writeBinaryText(out: ByteBuffer, text: string): void {
  const length = text.length
  out.reserve(5 + length * 3)
  const bytes = out.bytes
  const start = out.length
  let at = start + 5
  if (length <= SHORT_TEXT_MAX) {
    // Short ASCII, which most text is, costs less than the call that encodes the rest.
    for (let index = 0; index < length; index++) {
      const code = text.charCodeAt(index)
      if (code >= 0x80) {
        at = start + 5 + bytes.write(text, start + 5, 'utf8')
        break
      }
      bytes[at++] = code
    }
  } else {
    at += bytes.write(text, at, 'utf8')
  }
  const count = at - start - 5
  bytes[start] = BINARY_EXT
  bytes[start + 1] = count >>> 24
  bytes[start + 2] = count >>> 16
  bytes[start + 3] = count >>> 8
  bytes[start + 4] = count
  out.length = at
}

function writeNumber(out: ByteBuffer, value: number): void {
  if (!Number.isFinite(value)) throw badValue(`${value} has no external term`)
  if (!Number.isInteger(value) || Math.abs(value) > Number.MAX_SAFE_INTEGER) {
    out.writeByte(NEW_FLOAT_EXT)
    out.reserve(8)
    out.length = out.bytes.writeDoubleBE(value, out.length)
  } else if (value >= 0 && value <= 255) {
    out.writeByte(SMALL_INTEGER_EXT)
    out.writeByte(value)
  } else if (value >= INT32_MIN && value <= INT32_MAX) {
    out.writeByte(INTEGER_EXT)
    out.reserve(4)
    out.length = out.bytes.writeInt32BE(value, out.length)
  } else {
    writeBig(out, BigInt(value))
  }
}

/** Digits little-endian, none too many, as Erlang writes them. Zero has one. */
function writeBig(out: ByteBuffer, value: bigint): void {
  const isNegative = value < 0n
  const hex = (isNegative ? -value : value).toString(16)
  const count = (hex.length + 1) >> 1
  if (count > BIG_BYTES_MAX) {
    throw beyondLimit(LARGE_BIG_EXT, out.length, 'A big integer', count, BIG_BYTES_MAX)
  }
  out.reserve(6 + count)
  if (count <= 255) {
    out.writeByte(SMALL_BIG_EXT)
    out.writeByte(count)
  } else {
    out.writeByte(LARGE_BIG_EXT)
    out.writeUint32(count)
  }
  out.writeByte(isNegative ? 1 : 0)
  for (let to = hex.length; to > 0; to -= 2) {
    out.writeByte(Number.parseInt(hex.slice(Math.max(0, to - 2), to), 16))
  }
}

/** Atoms as they were written last: a server's keys are a few hundred. */
const atomTerms = new Map<number, Map<string, Buffer>>([
  [ATOM_EXT, new Map()],
  [SMALL_ATOM_EXT, new Map()],
  [SMALL_ATOM_UTF8_EXT, new Map()],
])
const ATOM_TERMS_MAX = 4096

function writeAtom(out: ByteBuffer, name: string, atomTag: number): void {
  const terms = atomTerms.get(atomTag)!
  let term = terms.get(name)
  if (term === undefined) {
    term = atomTerm(name, atomTag, out.length)
    if (terms.size === ATOM_TERMS_MAX) terms.clear()
    terms.set(name, term)
  }
  out.writeBytes(term)
}

/** Erlang's atoms have at most 255 characters; a tag that cannot hold the text gives way to one that can. */
function atomTerm(name: string, atomTag: number, offset: number): Buffer {
  const text = Buffer.from(name, 'utf8')
  const isAscii = text.length === name.length
  if (characterCount(name) > ATOM_CHARACTERS_MAX) {
    throw beyondLimit(atomTag, offset, 'An atom', text.length, ATOM_BYTES_MAX)
  }
  const head =
    atomTag === ATOM_EXT && isAscii
      ? [ATOM_EXT, 0, text.length]
      : text.length > 255
        ? [ATOM_UTF8_EXT, text.length >>> 8, text.length & 0xff]
        : [
            atomTag === SMALL_ATOM_EXT && isAscii ? SMALL_ATOM_EXT : SMALL_ATOM_UTF8_EXT,
            text.length,
          ]
  return Buffer.concat([Buffer.from(head), text])
}

function characterCount(text: string): number {
  let count = 0
  for (const _ of text) count++
  return count
}

function badValue(why: string): EtfError {
  return new EtfError('ETF_BAD_VALUE', `${why}; leave it out or convert it first.`)
}
