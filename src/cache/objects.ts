/** Objects of events on their way into a row set's arena, as terms without version byte. */
import { type ByteBuffer, editMap, type MapEdit } from '../etf/index.ts'

/** Copies a term as it stands. @returns where it begins in the arena */
export function writeWhole(
  arena: ByteBuffer,
  bytes: Uint8Array,
  start: number,
  end: number,
): number {
  const at = arena.length
  arena.writeBytes(bytes, start, end)
  return at
}

/** Copies a map without some of its keys, or with others. @returns where it begins in the arena */
export function writeObject(
  arena: ByteBuffer,
  bytes: Uint8Array,
  start: number,
  end: number,
  edit: MapEdit,
): number {
  const at = arena.length
  editMap(bytes, start, end, edit, arena)
  return at
}

const MAP_EXT = 116
const BINARY_EXT = 109

/** Writes a map of one key whose value is a term of the event. @returns where it begins in the arena */
export function writeField(
  arena: ByteBuffer,
  key: string,
  bytes: Uint8Array,
  start: number,
  end: number,
): number {
  const at = arena.length
  arena.writeByte(MAP_EXT)
  arena.writeUint32(1)
  arena.writeByte(BINARY_EXT)
  arena.writeUint32(key.length)
  arena.writeText(key)
  arena.writeBytes(bytes, start, end)
  return at
}
