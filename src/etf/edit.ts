/**
 * Maps edited byte to byte: kept pairs are copied as they stand, in their order and with their keys'
 * own tags, so that nothing that this program does not know gets lost. Keys compare by their text,
 * whatever the tag; keys that have none (integers, tuples) by the bytes of their term.
 *
 *   in   | 116 | n | id … | guild_id … | nick … |
 *   out  | 116 | m | id … | nick … | roles … |        drop guild_id, set roles; m is patched in last
 */
import type { ByteBuffer } from './byte-buffer.ts'
import { EtfError } from './errors.ts'
import { MapReader } from './map-reader.ts'
import { isText, latin1Text } from './text.ts'

const BINARY_EXT = 109
const MAP_EXT = 116
/** Tag and count. */
const HEAD_BYTES = 5

export interface MapEdit {
  /** Keys that are left out, ASCII. */
  readonly drop?: readonly string[]
  /** Keys, ASCII and written as binaries, with their new terms, without version byte; replaced or added at the end. */
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
  const reader = openMap(new MapReader(), bytes, start, end)
  const head = writeHead(out)
  let count = 0
  let runStart = start + HEAD_BYTES
  let runEnd = runStart
  while (reader.next()) {
    if (isNamed(bytes, reader, edit)) {
      out.writeBytes(bytes, runStart, runEnd)
      runStart = reader.valueEnd
    } else {
      count++
    }
    runEnd = reader.valueEnd
  }
  out.writeBytes(bytes, runStart, runEnd)
  for (const [key, term] of edit.set ?? []) {
    const length = Buffer.byteLength(key)
    out.writeByte(BINARY_EXT)
    out.writeUint32(length)
    out.writeText(key)
    out.writeBytes(term)
    count++
  }
  out.bytes.writeUInt32BE(count, head)
}

/**
 * Appends the union of two maps to `out`: pairs of `a` whose key is not in `b`, then all pairs of `b`. One level.
 *
 * @throws EtfError as editMap.
 * Cost: both skipped, a string for each key, one copy.
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
  const keys = new Set<string>()
  let count = reader.length
  let bPairsEnd = bStart + HEAD_BYTES
  while (reader.next()) {
    keys.add(keyOf(b, reader))
    bPairsEnd = reader.valueEnd
  }
  openMap(reader, a, aStart, aEnd)
  const head = writeHead(out)
  while (reader.next()) {
    if (keys.has(keyOf(a, reader))) continue
    out.writeBytes(a, reader.keyTermStart, reader.valueEnd)
    count++
  }
  out.writeBytes(b, bStart + HEAD_BYTES, bPairsEnd)
  out.bytes.writeUInt32BE(count, head)
}

/** The bytes by which a key compares, told apart by what they are: `=` text, `#` a whole term. */
function keyOf(bytes: Uint8Array, reader: MapReader): string {
  return reader.isTextKey
    ? `=${latin1Text(bytes, reader.keyStart, reader.keyEnd)}`
    : `#${latin1Text(bytes, reader.keyTermStart, reader.keyEnd)}`
}

function isNamed(bytes: Uint8Array, reader: MapReader, edit: MapEdit): boolean {
  if (!reader.isTextKey) return false
  for (const name of edit.drop ?? []) {
    if (isText(bytes, reader.keyStart, reader.keyEnd, name)) return true
  }
  for (const [name] of edit.set ?? []) {
    if (isText(bytes, reader.keyStart, reader.keyEnd, name)) return true
  }
  return false
}

function openMap(reader: MapReader, bytes: Uint8Array, start: number, end: number): MapReader {
  if (reader.open(bytes, start, end)) return reader
  throw new EtfError(
    'ETF_BAD_TERM',
    `The term at offset ${start} is no map; only maps are edited.`,
    { tag: bytes[start], offset: start },
  )
}

/** @returns where the count is to be written once it is known. */
function writeHead(out: ByteBuffer): number {
  out.writeByte(MAP_EXT)
  out.writeUint32(0)
  return out.length - 4
}
