import { latin1Text } from './text.ts'

const SLOTS = 2048
const TEXT_BYTES_MAX = 64

/**
 * Names that were read last, one for each slot: payloads repeat a few hundred keys and atoms, and a string that
 * exists already costs a comparison instead of an allocation and a look-up in the engine's table of names.
 * A slot that is taken goes to the newcomer, so that no input can fill memory or make the next one slower.
 */
const slots: string[] = new Array<string>(SLOTS).fill('')
/** The texts of the slots: bytes are compared faster with bytes than with characters. */
const texts = new Uint8Array(SLOTS * TEXT_BYTES_MAX)

/** The string of an ASCII text of at most 64 bytes; null for any other. */
export function cachedAscii(bytes: Uint8Array, start: number, end: number): string | null {
  const length = end - start
  if (length === 0) return ''
  if (length > TEXT_BYTES_MAX) return null
  // `guild_id` and `emoji_id` differ in front, `name` and `nick` in the middle.
  const mixed =
    Math.imul(length, 0x9e3779b1) ^
    Math.imul(bytes[start]!, 0x85ebca6b) ^
    Math.imul(bytes[start + (length >> 1)]!, 0xc2b2ae35) ^
    Math.imul(bytes[end - 1]!, 0x27d4eb2f) ^
    Math.imul(bytes[start + (length >> 2)]!, 0x165667b1)
  const slot = (mixed >>> 17) & (SLOTS - 1)
  const text = slot * TEXT_BYTES_MAX - start
  const known = slots[slot]!
  if (known.length === length) {
    let pos = start
    while (pos < end && texts[text + pos] === bytes[pos]) pos++
    if (pos === end) return known
  }
  for (let pos = start; pos < end; pos++) if (bytes[pos]! >= 0x80) return null
  for (let pos = start; pos < end; pos++) texts[text + pos] = bytes[pos]!
  const made = latin1Text(bytes, start, end)
  slots[slot] = made
  return made
}
