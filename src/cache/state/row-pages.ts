import type { QueryPort } from './merged-lookup.ts'

/** Rows of a list: `bodies` are JSON objects with commas between them, or ''. */
export interface ListPage {
  readonly bodies: string
  /** Key of the last row when more may follow behind a limit that was asked for. */
  readonly next: string | null
}

/** A list in pages. Ending the iteration early costs nothing. */
export type StateList = AsyncGenerator<ListPage, void, undefined>

export interface ListStatement {
  /** Of the prepared statement. */
  readonly name: string
  /**
   * A select of `after` (int8, by which the list is ordered) and `body` (JSON text); `$1` is the key
   * behind which it starts, `$2` the most rows it may give, further parameters are the list's own.
   */
  readonly rows: string
}

/** Which part of a list. */
export interface Range {
  /** Behind this key, as Postgres stores it; absent: from the beginning. */
  readonly after?: string
  /** At most so many rows, in one page; absent: all. */
  readonly limit?: number
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
  range: Range = {},
): StateList {
  const text = `select string_agg(body, ',' order by after) as bodies, max(after)::text as after,
    count(*)::int4 as count from (${statement.rows} order by after limit $2::int4) as page`
  let after = range.after ?? BEFORE_ALL
  let left = range.limit ?? Number.POSITIVE_INFINITY
  for (;;) {
    // What is asked for with a limit is one page: whether more follow stands before it.
    const rowsMax = Math.min(left, range.limit ?? ROWS_PER_PAGE)
    const [page] = await db.query<{ bodies: string | null; after: string | null; count: number }>(
      text,
      [after, String(rowsMax), ...values],
      statement.name,
    )
    const count = page?.count ?? 0
    left -= count
    const isFull = page?.after != null && count >= rowsMax
    const isLast = !isFull || left <= 0
    yield { bodies: page?.bodies ?? '', next: isFull && left <= 0 ? page.after : null }
    if (isLast) return
    after = page!.after!
  }
}
