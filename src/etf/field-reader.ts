import { assert } from '../base/index.ts'
import { tooDeep } from './errors.ts'
import { NEED_MORE } from './limits.ts'
import { textHeader } from './scalar.ts'
import { skipElement, skipTerm } from './skip.ts'
import { uint32At } from './uint32.ts'

const MAP_EXT = 116
const PATH_LEVELS_MAX = 16

/** One level of the paths: the names that are looked for in one map. */
interface Level {
  readonly keys: readonly Key[]
  /** Bit n: a name of n bytes is looked for (bit 31: of 31 and more), so that most keys are passed over by their length. */
  lengths: number
}

interface Key {
  readonly name: Uint8Array
  /** Index of the path that ends here; -1 when it only leads on. */
  field: number
  /** Names looked for in the map behind this key; null when no path leads on. */
  inner: Level | null
  /** Every field below, forgotten when a repeated key replaces the map that held them. */
  readonly below: number[]
}

/**
 * Finds several fields of a map, and of maps in it, in one pass and without building anything.
 *
 *   new FieldReader(['id', 'guild_id', 'user.id'])
 *   read(bytes, start, end)  →  starts[2], ends[2] is the term `id` of the map `user`
 *
 * A reader is made once and used for every payload; results stand until the next `read`.
 */
export class FieldReader {
  readonly paths: readonly string[]
  /** Where the term of each path begins, its tag first; -1 when absent. */
  readonly starts: Int32Array
  readonly ends: Int32Array
  readonly #root: Level
  // Open maps: where to go on in them once the inner one is through.
  readonly #levels: Level[] = []
  readonly #pairsLeft = new Int32Array(PATH_LEVELS_MAX)
  readonly #fields = new Int32Array(PATH_LEVELS_MAX)

  /** @param paths names joined by dots; at most 16 levels. A name cannot hold a dot. */
  constructor(paths: readonly string[]) {
    this.paths = paths
    this.starts = new Int32Array(paths.length).fill(-1)
    this.ends = new Int32Array(paths.length).fill(-1)
    this.#root = makeLevel(paths)
  }

  /**
   * Reads the map in `bytes[start, end)`. A term that is no map has no fields. Of equal keys the last counts, as in decodeTerm.
   *
   * @returns the offset behind the term, or NEED_MORE when it is cut; the fields are then undefined.
   * @throws EtfError as skipTerm.
   * Cost: that of skipTerm and a comparison for each key of a wanted length. No allocation.
   */
  read(bytes: Uint8Array, start: number, end: number): number {
    const { starts, ends } = this
    starts.fill(-1)
    ends.fill(-1)
    if (end - start < 5 || bytes[start] !== MAP_EXT) return skipTerm(bytes, start, end)
    const levels = this.#levels
    const pairsLeft = this.#pairsLeft
    const fields = this.#fields
    let depth = 0
    let level = this.#root
    let pairs = uint32At(bytes, start + 1)
    let pos = start + 5
    if (pairs * 2 > end - pos) return NEED_MORE
    for (;;) {
      while (pairs === 0) {
        if (depth === 0) return pos
        depth--
        const field = fields[depth]!
        if (field >= 0) ends[field] = pos
        pairs = pairsLeft[depth]!
        level = levels[depth]!
      }
      pairs--
      if (pos >= end) return NEED_MORE
      const tag = bytes[pos]!
      const header = textHeader(tag)
      const keyEnd = skipElement(bytes, pos, end, depth + 1)
      if (keyEnd === NEED_MORE) return NEED_MORE
      const key = header === 0 ? null : findKey(level, bytes, pos + header, keyEnd)
      pos = keyEnd
      if (key === null) {
        pos = skipElement(bytes, pos, end, depth + 1)
        if (pos === NEED_MORE) return NEED_MORE
        continue
      }
      if (key.field >= 0) starts[key.field] = pos
      if (key.inner !== null) {
        for (const field of key.below) starts[field] = -1
        if (end - pos >= 5 && bytes[pos] === MAP_EXT) {
          const inner = uint32At(bytes, pos + 1)
          if (inner * 2 > end - pos - 5) return NEED_MORE
          pairsLeft[depth] = pairs
          levels[depth] = level
          fields[depth] = key.field
          depth++
          pos += 5
          pairs = inner
          level = key.inner
          continue
        }
      }
      pos = skipElement(bytes, pos, end, depth + 1)
      if (pos === NEED_MORE) return NEED_MORE
      if (key.field >= 0) ends[key.field] = pos
    }
  }
}

function findKey(level: Level, bytes: Uint8Array, start: number, end: number): Key | null {
  const length = end - start
  if ((level.lengths & (1 << Math.min(length, 31))) === 0) return null
  const keys = level.keys
  for (let index = 0; index < keys.length; index++) {
    const key = keys[index]!
    const name = key.name
    if (name.length !== length) continue
    let at = 0
    while (at < length && name[at] === bytes[start + at]) at++
    if (at === length) return key
  }
  return null
}

function makeLevel(paths: readonly string[]): Level {
  const keys: Key[] = []
  const root: Level = { keys, lengths: 0 }
  assert(new Set(paths).size === paths.length, 'paths of a FieldReader differ')
  paths.forEach((path, field) => {
    const names = path.split('.')
    if (names.length > PATH_LEVELS_MAX) throw tooDeep(MAP_EXT, 0, PATH_LEVELS_MAX)
    let level = root
    names.forEach((name, index) => {
      const key = addKey(level, Buffer.from(name))
      if (index === names.length - 1) {
        key.field = field
      } else {
        key.inner ??= { keys: [], lengths: 0 }
        key.below.push(field)
        level = key.inner
      }
    })
  })
  return root
}

function addKey(level: Level, name: Buffer): Key {
  const known = level.keys.find((key) => name.equals(key.name))
  if (known !== undefined) return known
  const key: Key = { name, field: -1, inner: null, below: [] }
  ;(level.keys as Key[]).push(key)
  level.lengths |= 1 << Math.min(name.length, 31)
  return key
}
