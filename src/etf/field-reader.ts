import { assert } from '../base/index.ts'
import { ElementRanges, readElements } from './element-ranges.ts'
import { tooDeep } from './errors.ts'
import { NEED_MORE } from './limits.ts'
import { skipNested, skipTerm } from './skip.ts'
import { uint32At } from './uint32.ts'

// Constants of this file, as in skip.ts: imported ones make the loop slower.
const SMALL_INTEGER_EXT = 97
const INTEGER_EXT = 98
const ATOM_EXT = 100
const NIL_EXT = 106
const BINARY_EXT = 109
const SMALL_BIG_EXT = 110
const SMALL_ATOM_EXT = 115
const MAP_EXT = 116
const ATOM_UTF8_EXT = 118
const SMALL_ATOM_UTF8_EXT = 119

const PATH_LEVELS_MAX = 16
/** Names of so many bytes and more share a list of names. */
const LENGTHS = 31

/** One level of the paths: the names that are looked for in one map. */
interface Level {
  /** By the length of the name: most keys are passed over by theirs. */
  readonly byLength: (Key | null)[]
}

interface Key {
  readonly name: Uint8Array
  /** The next name of the same length. */
  sibling: Key | null
  /** Index of the path that ends here; -1 when it only leads on. */
  field: number
  /** Index of the path `name[]`; -1 when there is none. */
  list: number
  /** Names looked for in the map behind this key; null when no path leads on. */
  inner: Level | null
  /** Every field below, forgotten when a repeated key replaces the map that held them. */
  readonly below: number[]
}

/**
 * Finds several fields of a map, and of maps in it, in one pass and without building anything.
 *
 *   new FieldReader(['id', 'guild_id', 'user.id', 'member.roles[]'])
 *   read(bytes, start, end)  →  starts[2], ends[2] is the term `id` of the map `user`
 *                               lists[3] has the range of each element of the list `roles` of `member`
 *
 * A reader is made once and used for every payload; results stand until the next `read`.
 */
export class FieldReader {
  readonly paths: readonly string[]
  /** Where the term of each path begins, its tag first; -1 when absent. With `[]`, the list itself. */
  readonly starts: Int32Array
  readonly ends: Int32Array
  /** The elements of each path that ends with `[]`; null for every other. */
  readonly lists: readonly (ElementRanges | null)[]
  readonly #root: Level
  // Open maps: where to go on in them once the inner one is through.
  readonly #levels: Level[] = []
  readonly #pairsLeft = new Int32Array(PATH_LEVELS_MAX)
  readonly #keys: Key[] = []

  /**
   * @param paths names joined by dots, `[]` behind the last for the elements of a list; at most 16 levels.
   *   A name can hold neither.
   */
  constructor(paths: readonly string[]) {
    this.paths = paths
    this.starts = new Int32Array(paths.length).fill(-1)
    this.ends = new Int32Array(paths.length).fill(-1)
    this.lists = paths.map((path) => (path.endsWith('[]') ? new ElementRanges() : null))
    this.#root = makeLevel(paths)
  }

  /**
   * Reads the map in `bytes[start, end)`. A term that is no map has no fields. Of equal keys the last counts, as in decodeTerm.
   *
   * @returns the offset behind the term, or NEED_MORE when it is cut; the fields are then undefined.
   * @throws EtfError as skipTerm; ETF_LIMIT when a list of `[]` has more than 1,048,576 elements.
   * Cost: about that of skipTerm, a comparison for each key of a wanted length. No allocation but the first time that
   *   a list is longer than any before.
   */
  read(bytes: Uint8Array, start: number, end: number): number {
    const { starts, ends, lists } = this
    for (let field = 0; field < starts.length; field++) {
      starts[field] = -1
      ends[field] = -1
      const list = lists[field]!
      if (list !== null) list.length = 0
    }
    if (end - start < 5 || bytes[start] !== MAP_EXT) return skipTerm(bytes, start, end)
    let depth = 0
    let level = this.#root
    let pairs = uint32At(bytes, start + 1)
    let pos = start + 5
    if (pairs * 2 > end - pos) return NEED_MORE
    for (;;) {
      while (pairs === 0) {
        if (depth === 0) return pos
        depth--
        const { field } = this.#keys[depth]!
        if (field >= 0) ends[field] = pos
        pairs = this.#pairsLeft[depth]!
        level = this.#levels[depth]!
      }
      pairs--
      // The key: atoms and binaries here, everything else can match no name.
      let from = 0
      let behind = NEED_MORE
      if (end - pos >= 5) {
        switch (bytes[pos]) {
          case ATOM_EXT:
            from = pos + 3
            if (bytes[pos + 1] === 0) behind = from + bytes[pos + 2]!
            break
          case BINARY_EXT:
            from = pos + 5
            behind =
              from +
              (((bytes[pos + 1]! << 24) |
                (bytes[pos + 2]! << 16) |
                (bytes[pos + 3]! << 8) |
                bytes[pos + 4]!) >>>
                0)
            break
          case SMALL_ATOM_EXT:
          case SMALL_ATOM_UTF8_EXT:
            from = pos + 2
            behind = from + bytes[pos + 1]!
            break
          default:
        }
      }
      if (behind === NEED_MORE) {
        behind = skipNested(bytes, pos, end, depth + 1)
        if (behind === NEED_MORE) return NEED_MORE
        from = pos + rareKeyHeader(bytes[pos]!)
        if (from === pos) from = behind + 1
      } else if (behind > end) {
        return NEED_MORE
      }
      const length = behind - from
      pos = behind
      let key: Key | null = length < 0 ? null : level.byLength[length < LENGTHS ? length : LENGTHS]!
      while (key !== null && !isName(key.name, bytes, from, length)) key = key.sibling
      if (key !== null) {
        if (key.field >= 0) starts[key.field] = pos
        if (key.list >= 0) {
          starts[key.list] = pos
          const next = readElements(bytes, pos, end, depth + 1, lists[key.list]!)
          if (next === NEED_MORE) return NEED_MORE
          ends[key.list] = next
        }
        if (key.inner !== null) {
          for (const field of key.below) {
            starts[field] = -1
            ends[field] = -1
            const list = lists[field]!
            if (list !== null) list.length = 0
          }
          if (end - pos >= 5 && bytes[pos] === MAP_EXT) {
            const inner = uint32At(bytes, pos + 1)
            if (inner * 2 > end - pos - 5) return NEED_MORE
            this.#pairsLeft[depth] = pairs
            this.#levels[depth] = level
            this.#keys[depth] = key
            depth++
            pos += 5
            pairs = inner
            level = key.inner
            continue
          }
        }
      }
      // The value.
      behind = NEED_MORE
      if (end - pos >= 5) {
        switch (bytes[pos]) {
          case ATOM_EXT:
            if (bytes[pos + 1] === 0) behind = pos + 3 + bytes[pos + 2]!
            break
          case SMALL_BIG_EXT:
            behind = pos + 3 + bytes[pos + 1]!
            break
          case BINARY_EXT:
            behind =
              pos +
              5 +
              (((bytes[pos + 1]! << 24) |
                (bytes[pos + 2]! << 16) |
                (bytes[pos + 3]! << 8) |
                bytes[pos + 4]!) >>>
                0)
            break
          case SMALL_INTEGER_EXT:
            behind = pos + 2
            break
          case INTEGER_EXT:
            behind = pos + 5
            break
          case NIL_EXT:
            behind = pos + 1
            break
          case SMALL_ATOM_EXT:
          case SMALL_ATOM_UTF8_EXT:
            behind = pos + 2 + bytes[pos + 1]!
            break
          default:
        }
      }
      if (behind === NEED_MORE) {
        behind = skipNested(bytes, pos, end, depth + 1)
        if (behind === NEED_MORE) return NEED_MORE
      } else if (behind > end) {
        return NEED_MORE
      }
      pos = behind
      if (key !== null && key.field >= 0) ends[key.field] = pos
    }
  }
}

function isName(name: Uint8Array, bytes: Uint8Array, from: number, length: number): boolean {
  if (name.length !== length) return false
  let at = 0
  while (at < length && name[at] === bytes[from + at]) at++
  return at === length
}

/** Of the keys that skipNested had to step over: what stands in front of their text; 0 when they have none. */
function rareKeyHeader(tag: number): number {
  if (tag === ATOM_EXT || tag === ATOM_UTF8_EXT) return 3
  if (tag === SMALL_ATOM_EXT || tag === SMALL_ATOM_UTF8_EXT) return 2
  return tag === BINARY_EXT ? 5 : 0
}

function makeLevel(paths: readonly string[]): Level {
  const root = emptyLevel()
  assert(new Set(paths).size === paths.length, 'paths of a FieldReader differ')
  paths.forEach((path, field) => {
    const isList = path.endsWith('[]')
    const names = (isList ? path.slice(0, -2) : path).split('.')
    if (names.length > PATH_LEVELS_MAX) throw tooDeep(MAP_EXT, 0, PATH_LEVELS_MAX)
    let level = root
    names.forEach((name, index) => {
      assert(!name.includes('[]'), '[] stands at the end of a path of a FieldReader')
      const key = addKey(level, Buffer.from(name))
      if (index === names.length - 1) {
        if (isList) key.list = field
        else key.field = field
      } else {
        key.inner ??= emptyLevel()
        key.below.push(field)
        level = key.inner
      }
    })
  })
  return root
}

function emptyLevel(): Level {
  return { byLength: new Array<Key | null>(LENGTHS + 1).fill(null) }
}

function addKey(level: Level, name: Buffer): Key {
  const length = Math.min(name.length, LENGTHS)
  const first = level.byLength[length]!
  for (let key: Key | null = first; key !== null; key = key.sibling) {
    if (name.equals(key.name)) return key
  }
  const key: Key = { name, sibling: first, field: -1, list: -1, inner: null, below: [] }
  level.byLength[length] = key
  return key
}
