/** Bodies of State: JSON text as Postgres wrote it, or the same as an external term. */
import { Readable } from 'node:stream'
import { hash } from 'node:crypto'
import type { Log } from '../base/index.ts'
import type { ListPage, StateList } from '../cache/index.ts'
import { encodeTerm } from '../etf/index.ts'

export const ETF_TYPE = 'application/x-erlang-binary'
const VERSION = 131
const NIL_EXT = 106
const LIST_EXT = 108
/** A string of digits under an id key is an id again, from here on. See termToJson. */
const ID_MIN = 0x1_0000_0000n
const UINT64_MAX = (1n << 64n) - 1n

type Body = string | Buffer

/** How pages become a body. */
interface Format {
  whole(json: string): Body
  /** One page that is the whole list. */
  list(bodies: string): Body
  first(bodies: string): Body
  further(bodies: string): Body
  readonly end: Body
}

const JSON_FORMAT: Format = {
  whole: (json) => json,
  list: (bodies) => `[${bodies}]`,
  first: (bodies) => `[${bodies}`,
  further: (bodies) => (bodies === '' ? '' : `,${bodies}`),
  end: ']',
}

/** The tail of a cell is the next page's: a proper list whose length need not be known beforehand. */
const ETF_FORMAT: Format = {
  whole: (json) => termOf(JSON.parse(json)),
  list: (bodies) => termOf(JSON.parse(`[${bodies}]`)),
  first: (bodies) => Buffer.concat([Buffer.from([VERSION]), cells(bodies)]),
  further: cells,
  end: Buffer.from([NIL_EXT]),
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
 * A list that fits in one page is answered whole, with its length; a longer one is streamed at the speed
 * of its reader. A database that fails before the second page is still an error with a status.
 */
export async function listBody(
  list: StateList,
  format: Format,
  log: Log,
): Promise<{ body: Body | Readable; next: string | null }> {
  const first = await list.next()
  if (first.done === true) return { body: format.list(''), next: null }
  const second = await list.next()
  if (second.done === true) {
    return { body: format.list(first.value.bodies), next: first.value.next }
  }
  return { body: Readable.from(rest(first.value, second.value), { highWaterMark: 1 }), next: null }

  async function* rest(one: ListPage, two: ListPage): AsyncGenerator<Body> {
    try {
      yield format.first(one.bodies)
      if (two.bodies !== '') yield format.further(two.bodies)
      for await (const { bodies } of list) if (bodies !== '') yield format.further(bodies)
      yield format.end
    } catch (error) {
      // The status is sent: the body ends without its end and the connection is reset.
      log.error('a list broke off in the middle of its answer', { error })
      throw error
    } finally {
      await list.return()
    }
  }
}

function cells(bodies: string): Buffer {
  const elements = JSON.parse(`[${bodies}]`) as unknown[]
  const head = Buffer.alloc(5)
  head[0] = LIST_EXT
  head.writeUInt32BE(elements.length, 1)
  return Buffer.concat([head, ...elements.map((element) => termOf(element).subarray(1))])
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
