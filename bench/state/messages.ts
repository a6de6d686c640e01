/** What the bench tells the process that makes the load, and what it answers. */
export interface LoadOrder {
  readonly port: number
  /** Paths to ask for, in turn. */
  readonly paths: readonly string[]
  readonly connections: number
  readonly seconds: number
}

export interface LoadResult {
  readonly requests: number
  readonly seconds: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** Answers that were not 200, or whose body had not the length of its Content-Length. */
  readonly faults: number
}
