/** Bodies of State: JSON text as Postgres wrote it, or the same as an external term. */
import { Readable } from 'node:stream'
import { hash } from 'node:crypto'
import type { Log } from '../base/index.ts'
import type { ListPage, StateList } from '../cache/index.ts'
import { encodeTerm } from '../etf/index.ts'
import { ServerError } from './errors.ts'

export const ETF_TYPE = 'application/x-erlang-binary'
const VERSION = 131
const NIL_EXT = 106
/** Of one list as a term, and of all that are under way. */
const LIST_BYTES_MAX = 32 * 1024 * 1024
const ALL_LISTS_BYTES_MAX = 128 * 1024 * 1024
const LIST_EXT = 108
/** A string of digits under an id key is an id again, from here on. See termToJson. */
const ID_MIN = 0x1_0000_0000n
const UINT64_MAX = (1n << 64n) - 1n

type Body = string | Buffer

/** How answers become bodies. */
interface Format {
  whole(json: string): Body
}

const JSON_FORMAT: Format = { whole: (json) => json }
const ETF_FORMAT: Format = { whole: (json) => termOf(JSON.parse(json)) }

/**
 * Lists on their way as terms. A list's length stands before its entries, and its tail must be nil for readers such as
 * erlpack: so it is held until it is whole, within bounds for one list and for all of them.
 */
export class TermLists {
  #bytes = 0

  /** @throws ServerError SERVER_LIST_TOO_LONG, SERVER_BUSY */
  async read(list: StateList): Promise<{ body: Buffer; next: string | null }> {
    const cells: Buffer[] = []
    let count = 0
    let bytes = 0
    let next: string | null = null
    try {
      for await (const page of list) {
        next = page.next
        if (page.bodies === '') continue
        for (const element of JSON.parse(`[${page.bodies}]`) as unknown[]) {
          const cell = termOf(element).subarray(1)
          cells.push(cell)
          count++
          bytes += cell.length
          this.#bytes += cell.length
        }
        if (bytes > LIST_BYTES_MAX) {
          throw new ServerError(
            'SERVER_LIST_TOO_LONG',
            `The list is longer than ${LIST_BYTES_MAX >> 20} MiB as a term: ask for pages with limit, or for JSON.`,
          )
        }
        if (this.#bytes > ALL_LISTS_BYTES_MAX) {
          throw new ServerError('SERVER_BUSY', 'Too many long lists are under way.')
        }
      }
    } finally {
      this.#bytes -= bytes
    }
    if (count === 0) return { body: Buffer.from([VERSION, NIL_EXT]), next }
    const head = Buffer.from([VERSION, LIST_EXT, 0, 0, 0, 0])
    head.writeUInt32BE(count, 2)
    return { body: Buffer.concat([head, ...cells, Buffer.from([NIL_EXT])]), next }
  }
}

export function formatOf(accept: string | undefined): Format {
  return accept?.includes(ETF_TYPE) === true ? ETF_FORMAT : JSON_FORMAT
}

export function isEtf(format: Format): boolean {
  return format === ETF_FORMAT
}

export function etagOf(body: Body): string {
  return `"${hash('sha1', body, 'base64url')}"`
}

/** Whether If-None-Match names the tag; the weak comparison of RFC 9110 §13.1.2. */
export function isMatch(ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false
  if (ifNoneMatch.trim() === '*') return true
  return ifNoneMatch.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag)
}

/**
 * A list as JSON. One that fits in one page is answered whole; a longer one is streamed at the speed of its reader. A
 * database that fails before the second page is still an error with a status.
 */
export async function listBody(
  list: StateList,
  log: Log,
): Promise<{ body: string | Readable; next: string | null }> {
  const first = await list.next()
  if (first.done === true) return { body: '[]', next: null }
  const second = await list.next()
  if (second.done === true) return { body: `[${first.value.bodies}]`, next: first.value.next }
  return { body: Readable.from(rest(first.value, second.value), { highWaterMark: 1 }), next: null }

  async function* rest(one: ListPage, two: ListPage): AsyncGenerator<string> {
    try {
      yield `[${one.bodies}`
      if (two.bodies !== '') yield `,${two.bodies}`
      for await (const { bodies } of list) if (bodies !== '') yield `,${bodies}`
      yield ']'
    } catch (error) {
      // The status is sent: the body ends without its end and the connection is reset.
      log.error('a list broke off in the middle of its answer', { error })
      throw error
    } finally {
      await list.return()
    }
  }
}

/** As Discord writes it: atom keys, ids as integers. */
function termOf(value: unknown): Buffer {
  return Buffer.from(encodeTerm(withIds(value, false), { keys: 'atom' }))
}

function withIds(value: unknown, isId: boolean): unknown {
  if (typeof value === 'string') {
    if (!isId || !/^[1-9][0-9]{9,19}$/.test(value)) return value
    const id = BigInt(value)
    return id >= ID_MIN && id <= UINT64_MAX ? id : value
  }
  if (Array.isArray(value)) return value.map((element) => withIds(element, false))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, child]) => [
      key,
      withIds(child, key === 'id' || key.endsWith('_id')),
    ]),
  )
}
