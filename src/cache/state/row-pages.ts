import type { QueryPort } from './merged-lookup.ts'

/** A JSON array in pieces of text; joined they are the whole. Ending the iteration early costs nothing. */
export type JsonList = AsyncGenerator<string, void, undefined>

export interface ListStatement {
  /** Of the prepared statement. */
  readonly name: string
  /**
   * A select of `after` (int8, by which the list is ordered) and `body` (JSON text); `$1` is the key
   * behind which it starts, `$2` the most rows it may give, further parameters are the list's own.
   */
  readonly rows: string
}

/** About half a megabyte of members: a page is what one answer holds in memory at a time. */
const ROWS_PER_PAGE = 500
const BEFORE_ALL = '-9223372036854775808'

/**
 * Reads a list in pages by key, so that a guild of a million members is answered in constant memory and
 * holds no connection while its reader is slow. The pages are not one snapshot: a row that changes
 * meanwhile is seen before or after its change.
 */
export async function* rowPages(
  db: QueryPort,
  statement: ListStatement,
  values: readonly string[],
): JsonList {
  const text = `select string_agg(body, ',' order by after) as bodies, max(after)::text as after,
    count(*)::int4 as count from (${statement.rows} order by after limit $2::int4) as page`
  let after = BEFORE_ALL
  let separator = '['
  for (;;) {
    const [page] = await db.query<{ bodies: string | null; after: string | null; count: number }>(
      text,
      [after, String(ROWS_PER_PAGE), ...values],
      statement.name,
    )
    const isLast = page === undefined || page.count < ROWS_PER_PAGE || page.after === null
    const bodies = page?.bodies ?? ''
    yield `${bodies === '' && separator === ',' ? '' : separator}${bodies}${isLast ? ']' : ''}`
    if (isLast) return
    after = page.after!
    separator = ','
  }
}
