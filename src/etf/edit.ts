/**
 * Maps edited byte to byte: kept pairs are copied as they stand, in their order and with their keys'
 * own tags, so that nothing that this program does not know gets lost. Keys compare by their text,
 * whatever the tag; keys that have none (integers, tuples) by their bytes.
 *
 *   in   | 116 | n | id … | guild_id … | nick … |
 *   out  | 116 | m | id … | nick … | roles … |        drop guild_id, set roles; m is patched in last
 */
import type { ByteBuffer } from './byte-buffer.ts'
import { EtfError } from './errors.ts'
import { MapReader } from './map-reader.ts'
import { isText, sameBytes } from './text.ts'

const BINARY_EXT = 109
const MAP_EXT = 116

export interface MapEdit {
  /** Keys that are left out. ASCII. */
  readonly drop?: readonly string[]
  /** Keys (written as binaries) with their new terms, without version byte; replaced or added at the end. */
  readonly set?: readonly (readonly [key: string, term: Uint8Array])[]
}

/**
 * Appends the map in `bytes[start, end)` to `out` with keys dropped and set.
 *
 * @throws EtfError ETF_BAD_TERM when it is no map; those of skipTerm, ETF_TRUNCATED.
 * Cost: skipTerm, keys × pairs comparisons, one copy.
 */
export function editMap(
  bytes: Uint8Array,
  start: number,
  end: number,
  edit: MapEdit,
  out: ByteBuffer,
): void {
  const drop = edit.drop ?? []
  const set = edit.set ?? []
  const reader = openMap(new MapReader(), bytes, start, end)
  const head = writeHead(out)
  let count = 0
  let runStart = start + 5
  let runEnd = runStart
  while (reader.next()) {
    if (isNamed(bytes, reader, drop) || isSet(bytes, reader, set)) {
      out.writeBytes(bytes, runStart, runEnd)
      runStart = reader.valueEnd
    } else {
      count++
    }
    runEnd = reader.valueEnd
  }
  out.writeBytes(bytes, runStart, runEnd)
  for (const [key, term] of set) {
    const length = Buffer.byteLength(key)
    out.writeByte(BINARY_EXT)
    out.writeUint32(length)
    out.writeText(key)
    out.writeBytes(term)
    count++
  }
  patchCount(out, head, count)
}

/**
 * Appends the union of two maps to `out`: pairs of `a` whose key is not in `b`, then all pairs of `b`. One level.
 *
 * @throws EtfError as editMap.
 * Cost: both skipped, pairs(a) × pairs(b) length comparisons, one copy.
 */
export function mergeMaps(
  a: Uint8Array,
  aStart: number,
  aEnd: number,
  b: Uint8Array,
  bStart: number,
  bEnd: number,
  out: ByteBuffer,
): void {
  const reader = openMap(new MapReader(), b, bStart, bEnd)
  const bCount = reader.length
  // Text range and term start of each key of b, three numbers a key.
  const keys = new Int32Array(bCount * 3)
  let bPairsEnd = bStart + 5
  for (let index = 0; reader.next(); index += 3) {
    keys[index] = reader.keyTermStart
    keys[index + 1] = reader.keyStart
    keys[index + 2] = reader.keyEnd
    bPairsEnd = reader.valueEnd
  }
  openMap(reader, a, aStart, aEnd)
  const head = writeHead(out)
  let count = bCount
  while (reader.next()) {
    if (holdsKey(b, keys, a, reader)) continue
    out.writeBytes(a, reader.keyTermStart, reader.valueEnd)
    count++
  }
  out.writeBytes(b, bStart + 5, bPairsEnd)
  patchCount(out, head, count)
}

function holdsKey(b: Uint8Array, keys: Int32Array, a: Uint8Array, reader: MapReader): boolean {
  const isTextKey = reader.keyStart < reader.keyEnd || isEmptyText(a, reader)
  const from = isTextKey ? reader.keyStart : reader.keyTermStart
  for (let index = 0; index < keys.length; index += 3) {
    const term = keys[index]!
    const text = keys[index + 1]!
    const end = keys[index + 2]!
    const isText = text < end || isEmptyKey(b[term]!)
    if (isText !== isTextKey) continue
    if (sameBytes(a, from, reader.keyEnd, b, isText ? text : term, end)) return true
  }
  return false
}

/** '' is a text too, though its range is as empty as that of a key that is none. */
function isEmptyText(bytes: Uint8Array, reader: MapReader): boolean {
  return isEmptyKey(bytes[reader.keyTermStart]!)
}

function isEmptyKey(tag: number): boolean {
  return tag === BINARY_EXT || tag === 100 || tag === 115 || tag === 118 || tag === 119
}

function isNamed(bytes: Uint8Array, reader: MapReader, names: readonly string[]): boolean {
  for (const name of names) {
    if (isText(bytes, reader.keyStart, reader.keyEnd, name)) return true
  }
  return false
}

function isSet(
  bytes: Uint8Array,
  reader: MapReader,
  set: readonly (readonly [string, Uint8Array])[],
): boolean {
  for (const [name] of set) {
    if (isText(bytes, reader.keyStart, reader.keyEnd, name)) return true
  }
  return false
}

function openMap(reader: MapReader, bytes: Uint8Array, start: number, end: number): MapReader {
  if (reader.open(bytes, start, end)) return reader
  throw new EtfError(
    'ETF_BAD_TERM',
    `The term at offset ${start} is no map; only maps are edited.`,
    {
      tag: bytes[start],
      offset: start,
    },
  )
}

/** @returns where the count is to be patched in. */
function writeHead(out: ByteBuffer): number {
  out.writeByte(MAP_EXT)
  out.writeUint32(0)
  return out.length - 4
}

function patchCount(out: ByteBuffer, at: number, count: number): void {
  out.bytes.writeUInt32BE(count, at)
}
